package sync

import (
	"fmt"
	"time"
)

// maxDaysAgo reaches back beyond all mail; a thousand years of days are a slip
// that no database takes.
const maxDaysAgo = 99_999

// ParseSince reads what every --since takes: a date like 2026-01-31, or how long
// ago: days like 30d, which begin with the day they reach back to, or a span like
// 48h, to the second. In UTC.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day, nil
	}
	if span, err := time.ParseDuration(s); err == nil && span > 0 {
		return now.UTC().Add(-span), nil
	}
	var days int
	if n, err := fmt.Sscanf(s, "%dd", &days); err != nil || n != 1 || days < 0 || fmt.Sprintf("%dd", days) != s || days > maxDaysAgo {
		return time.Time{}, fmt.Errorf("%q is neither a time ago like 30d or 48h nor a date like 2026-01-31", s)
	}
	return now.UTC().AddDate(0, 0, -days).Truncate(24 * time.Hour), nil
}
