package db

import (
	"time"
)

// Lost is what the stream has lost of a provider after it had acknowledged it.
type Lost struct {
	LostState   LostState  `db:"lost_state"`
	LostSince   *time.Time `db:"lost_since"`  // when the first of the lost events was published
	LostUntil   *time.Time `db:"lost_until"`  // up to here the ledger was compared with the stream
	LostEvents  int64      `db:"lost_events"` // how many, at most, are not on the stream
	Republished int64      `db:"republished"` // how many were published again, in all
}

// LostState says what is to be done about lost events.
type LostState string

// The states of lost events.
const (
	LostNone    LostState = ""        // none are known
	LostHeal    LostState = "heal"    // the next pass publishes them again
	LostMissing LostState = "missing" // a person decides
)
