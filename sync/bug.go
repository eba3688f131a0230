package sync

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"imapsync/db"
	"imapsync/internal/fault"
)

// recovered makes a panic in work an error, so that it ends no more than that work.
func recovered(work func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	return work()
}

// survive makes a panic in the pass over p that it is deferred by that pass's failure.
func survive(p *db.Provider, res *Result) {
	if v := recover(); v != nil {
		*res = Result{Ref: db.Ref{Tenant: p.Tenant, ID: p.ID}, Provider: p, Err: fmt.Errorf("provider %s: %w", p, panicked(v))}
	}
}

// panicked is the error that a panic is: what happened, and where, to be reported. There
// is no stack trace: it may hold what a server or a mail said.
func panicked(v any) *fault.Error {
	return fault.Newf(fault.Bug, "panic", "internal error: %v%s", v, panickedAt())
}

// panickedAt is where in this program the panic under way arose, in parentheses.
func panickedAt() string {
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(2, counters[:])])
	panicking := false
	for {
		frame, more := frames.Next()
		switch {
		case frame.Function == "runtime.gopanic":
			panicking = true
		case panicking && strings.HasPrefix(frame.Function, "imapsync/"):
			return fmt.Sprintf(" (%s, %s:%d)", frame.Function, filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return ""
		}
	}
}

// messageBug makes a bug the failure of the message that met it, and says what to
// report.
func (f *folderPass) messageBug(m *message, bug *fault.Error) {
	f.bug.Store(true)
	f.log.Error("bug", "uid", m.UID, "code", bug.Code, "error", bug.Error(), "version", f.runner.Options.Version, "class", fault.Bug)
	m.fail("parse", bug.Code, bug)
}

// reportBug says of a pass that met a bug what to report.
func (r *Runner) reportBug(res Result) {
	_, code := Classify(res.Err)
	r.Log.Error("bug", "tenant", res.Ref.Tenant, "provider_id", res.Ref.ID, "code", code,
		"error", res.Err.Error(), "version", r.Options.Version, "class", fault.Bug)
}
