package sync

import (
	"fmt"
	"testing"
	"time"
)

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{"30d": "2026-03-01", "0d": "2026-03-31", "2026-01-31": "2026-01-31", "2026-04-02": "2026-04-02"} {
		if got, err := ParseSince(in, now); err != nil || got.Format(time.DateOnly) != want || got != got.Truncate(24*time.Hour) {
			t.Errorf("ParseSince(%q) = %v, %v; want %s", in, got, err, want)
		}
	}
	if got, err := ParseSince("36h30m", now); err != nil || got != now.Add(-36*time.Hour-30*time.Minute) {
		t.Errorf("ParseSince(36h30m) = %v, %v", got, err)
	}
	for _, in := range []string{"", "d", "-1d", "30", "30days", "2026-02-30", "yesterday", "0s", "-48h", "100000d"} {
		if got, err := ParseSince(in, now); err == nil {
			t.Errorf("ParseSince(%q) = %v, want an error", in, fmt.Sprint(got))
		}
	}
}
