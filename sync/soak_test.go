//go:build soak

package sync

import "testing"

// TestSoakUIDVALIDITYThatNeverHolds is TestFailure31 with a mailbox of a size that takes
// a while.
func TestSoakUIDVALIDITYThatNeverHolds(t *testing.T) { neverHolds(t, 50_000, 2000, 60) }
