package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// readState fills into from a file that the host keeps of itself; a host that has none yet leaves it as it is.
func readState(path string, into any) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
