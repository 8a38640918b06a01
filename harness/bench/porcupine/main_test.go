package main

import (
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
)

// Judged as the program is asked to: whatever the peer says, our benchmark compares with these verdicts.
func TestVerdicts(t *testing.T) {
	cases := map[string]struct {
		history  []string
		expected porcupine.CheckResult
	}{
		"a read sees the write before it":        {[]string{"0 1 2 0 w 7 0", "1 3 4 0 r 7 0"}, porcupine.Ok},
		"a read sees nothing of it":              {[]string{"0 1 2 0 w 7 0", "1 3 4 0 r 0 0"}, porcupine.Illegal},
		"at the same time either may be first":   {[]string{"0 1 4 0 w 7 0", "1 2 3 0 r 0 0"}, porcupine.Ok},
		"another key is another register":        {[]string{"0 1 2 0 w 7 0", "1 3 4 1 r 0 0"}, porcupine.Ok},
		"a replacement finds what it expects":    {[]string{"0 1 2 0 w 7 0", "1 3 4 0 c 7 8", "0 5 6 0 r 8 0"}, porcupine.Ok},
		"of two replacements one comes too late": {[]string{"0 1 4 0 c 0 8", "1 2 3 0 c 0 9"}, porcupine.Illegal},
	}
	for name, one := range cases {
		t.Run(name, func(t *testing.T) {
			history, err := read(strings.NewReader(strings.Join(one.history, "\n")))
			if err != nil {
				t.Fatal(err)
			}
			if len(history) != len(one.history) {
				t.Fatalf("read %d operations of %d", len(history), len(one.history))
			}
			if found := porcupine.CheckOperationsTimeout(registers, history, 0); found != one.expected {
				t.Errorf("%v, expected %v", found, one.expected)
			}
		})
	}
}

func TestWhatIsNoOperationIsRefused(t *testing.T) {
	for _, line := range []string{"", "0 1 2 0 w", "0 1 2 0 w x 0"} {
		if _, err := read(strings.NewReader(line + "\n")); err == nil {
			t.Errorf("%q was read", line)
		}
	}
}
