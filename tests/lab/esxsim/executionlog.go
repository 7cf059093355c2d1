package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// executionLog is what really happened, for the referee's eyes only: one line an event, each written by one write(2).
type executionLog struct{ file *os.File }

func openExecutionLog(path string) (*executionLog, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &executionLog{file}, nil
}

func (l *executionLog) event(kind, vm string, execution [16]byte, argument string) {
	line := fmt.Sprintf("%d %s %s %s", bootTime(), kind, oneWord(vm), hex.EncodeToString(execution[:]))
	if argument != "" {
		line += " " + argument
	}
	_, _ = l.file.WriteString(line + "\n")
}

func oneWord(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' {
			return '_'
		}
		return r
	}, text)
}
