"""The process that looks, decides with the real ``decide``, and acts; and the database that outlives it."""
