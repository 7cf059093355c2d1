package main

import (
	"errors"
	"testing"
)

func TestSenseDataIsReadInBothFormats(t *testing.T) {
	fixed := func(key, code, qualifier byte) []byte {
		return []byte{0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0}
	}
	descriptor := func(key, code, qualifier byte) []byte { return []byte{0x72, key, code, qualifier, 0, 0, 0, 0} }
	for name, sense := range map[string]func(key, code, qualifier byte) []byte{"fixed": fixed, "descriptor": descriptor} {
		if err := refusal(2, sense(0xe, 0x1d, 0)); !errors.Is(err, errMiscompare) {
			t.Errorf("%s, miscompare: %v", name, err)
		}
		if err := refusal(2, sense(5, 0x20, 0)); !errors.Is(err, errUnsupported) {
			t.Errorf("%s, invalid operation code: %v", name, err)
		}
		if err := refusal(2, sense(6, 0x29, 0)); !isTransient(err) {
			t.Errorf("%s, unit attention: %v", name, err)
		}
		if err := refusal(2, sense(5, 0x25, 0)); !isGone(err) {
			t.Errorf("%s, no such LUN: %v", name, err)
		}
	}
	if err := refusal(8, nil); !isTransient(err) {
		t.Errorf("busy: %v", err)
	}
}
