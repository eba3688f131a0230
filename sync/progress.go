package sync

import (
	"time"

	"imapsync/db"
)

// Progress is where the pass over one provider stands.
type Progress struct {
	Provider *db.Provider
	Done     int   // messages handled
	Left     int   // messages known to wait, those of this pass included
	Bytes    int64 // downloaded
	Elapsed  time.Duration
}

// progress tells whoever listens where a pass stands, one at a time.
func (r *Runner) progress(ps *pass, left int) {
	if r.OnProgress == nil {
		return
	}
	r.report.Lock()
	defer r.report.Unlock()
	r.OnProgress(Progress{Provider: ps.provider, Done: ps.counts.Total(), Left: left, Bytes: ps.bytes.Load(), Elapsed: r.since(ps.started)})
}
