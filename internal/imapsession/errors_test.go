package imapsession

import (
	"errors"
	"testing"
	"time"
)

func TestBackoffHint(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"BAD Request is throttled. Suggested Backoff Time: 299072 milliseconds": 299072 * time.Millisecond,
		"NO Suggested backoff time: 30 s":                                       30 * time.Second,
		"BAD Suggested Backoff Time: 999999999 milliseconds":                    maxBackoffHint,
		"NO too many connections":                                               0,
	} {
		if got := BackoffHint(errors.New(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
