# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A VM's pending question, and the two that are answered here: "moved or copied", and "its lock is lost".

Registering a VM's files on another host makes ESXi ask at power-on whether they were moved or copied; only "moved"
keeps the UUIDs. The question is known by its message id and the choice by what it says, never by its position: the
order and the keys differ between versions, and the wrong answer changes the VM's identity.

A host that gets its storage back finds that another one has taken the locks of its VMs. It asks about each whether it has seen
that ("OK"), and until that is answered the VM stays powered on and cannot be switched off. The answer ends the VM, and nothing
else; so it is given only by what is to end it.
"""

from __future__ import annotations

import re
from typing import Any

from ..decide.observations import Choice, Question

MOVED_OR_COPIED = "msg.uuid"
LOCK_LOST = "msg.hbacommon.locklost"


def question_of(info: Any) -> Question | None:
    """A vim.vm.QuestionInfo as a value. Older hosts put the message's id before the text: "msg.uuid.altered:..."."""
    if info is None:
        return None
    messages = list(getattr(info, "message", None) or ())
    text = str(info.text or "")
    message_id = next((str(message.id) for message in messages if message.id), "")
    if text.startswith(message_id + ":") or (not message_id and text.startswith("msg.")):
        message_id, _colon, text = text.partition(":")
    if not text.strip():
        text = " ".join(str(message.text) for message in messages if message.text)
    return Question(
        id=str(info.id),
        message_id=message_id.strip(),
        text=text.strip(),
        choices=tuple(Choice(str(choice.key), _label(choice)) for choice in getattr(info.choice, "choiceInfo", None) or ()),
    )


def is_moved_or_copied(question: Question) -> bool:
    return question.message_id == MOVED_OR_COPIED or question.message_id.startswith(MOVED_OR_COPIED + ".")


def moved_choice(question: Question) -> str | None:
    """The key of the one choice that says "moved"; None when none or several do, then nobody should answer."""
    said = [choice.key for choice in question.choices if "moved" in choice.label.lower() and "copied" not in choice.label.lower()]
    return said[0] if len(set(said)) == 1 else None


def is_lock_lost(question: Question) -> bool:
    return question.message_id == LOCK_LOST


def seen_choice(question: Question) -> str | None:
    """The key of the one choice that says "OK", which ends a VM that lost its lock; None when none or several do."""
    said = [choice.key for choice in question.choices if "ok" in re.split(r"[^a-z]+", choice.label.lower())]
    return said[0] if len(set(said)) == 1 else None


def _label(choice: Any) -> str:
    """What a person reads, with the message id beside it where the host gives one ("button.uuid.movedTheVM"):
    the id says "moved" also where the host speaks another language."""
    texts = [str(text).replace("_", "").strip() for text in (choice.summary, choice.label) if text and str(text).strip()]
    if not texts:
        return str(choice.key)
    if len(texts) == 1 or texts[0].lower() == texts[1].lower():
        return texts[0]
    return "%s (%s)" % (texts[0], texts[1])
