package sync

import (
	"time"

	"imapsync/db"
)

// Result is how the pass over one provider ended.
type Result struct {
	Ref      db.Ref
	Provider *db.Provider // nil when it could not be loaded
	Busy     bool         // another run holds the lock
	Deferred string       // why its host is left alone for now; "" when it is not
	Err      error        // nil when everything went well
	Partial  bool         // Err is about some folders only, the others were served
	Counts   db.Counts
	Folders  int // looked at
	Left     int // messages known to wait for the next pass
	Bytes    int64
	Duration time.Duration

	NextAttemptAt *time.Time // set when the provider failed and is left alone for a while

	states map[string]*db.FolderState // as the pass left them
	silent bool                       // in the pass, the folder to IDLE on had mail
}

// Summary counts the providers of a run.
type Summary struct {
	Providers int       `json:"providers"`
	OK        int       `json:"ok"`
	Partial   int       `json:"partial"` // some folders failed
	Failed    int       `json:"failed"`
	Busy      int       `json:"busy"`
	Deferred  int       `json:"deferred"` // left for later: their host refused or throttled others
	Skipped   int       `json:"skipped"`  // not begun: the run was ended
	Counts    db.Counts `json:"counts"`
	Left      int       `json:"left"`
	Bytes     int64     `json:"bytes"`
}

func (s *Summary) add(res Result) {
	s.Counts.Plus(res.Counts)
	s.Left += res.Left
	s.Bytes += res.Bytes
	switch {
	case res.Busy:
		s.Busy++
	case res.Deferred != "":
		s.Deferred++
	case res.Err == nil:
		s.OK++
	case res.Partial:
		s.Partial++
	default:
		s.Failed++
	}
}

// Plus adds the summary of the next round over the same providers. Messages
// left are those of that round.
func (s *Summary) Plus(next Summary) {
	s.Counts.Plus(next.Counts)
	s.Providers += next.Providers
	s.OK += next.OK
	s.Partial += next.Partial
	s.Failed += next.Failed
	s.Busy += next.Busy
	s.Deferred += next.Deferred
	s.Skipped += next.Skipped
	s.Left = next.Left
	s.Bytes += next.Bytes
}
