package main

import (
	"fmt"
	"time"

	"imapsync/provider"
)

// sinceForms is what --since takes, everywhere.
const sinceForms = "2026-01-31, or 30d or 48h ago"

// sinceTime reads --since, or another flag that takes the same.
func sinceTime(flag, value string, now time.Time) (time.Time, error) {
	t, err := provider.ParseSince(value, now)
	if err != nil {
		return t, fmt.Errorf("--%s: %w", flag, err)
	}
	return t, nil
}

// dateRange reads --since and --until as the days that mail servers know: until
// names the last one that is taken.
func dateRange(since, until string, now time.Time) (from, to time.Time, err error) {
	if since == "" {
		return from, to, usageError("--since is required: " + sinceForms)
	}
	if from, err = sinceTime("since", since, now); err != nil {
		return from, to, usage(err)
	}
	from = from.Truncate(day)
	if until == "" {
		return from, to, nil
	}
	if to, err = sinceTime("until", until, now); err != nil {
		return from, to, usage(err)
	}
	if to = to.Truncate(day); to.Before(from) {
		return from, to, usageError("--until %s is before --since %s", to.Format(time.DateOnly), from.Format(time.DateOnly))
	}
	return from, to.AddDate(0, 0, 1), nil
}
