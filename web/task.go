package web

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"imapsync/db"
	"imapsync/provider"
)

const (
	taskSync      = "sync"
	taskReconcile = "reconcile"
	taskDevice    = "device"
)

// tasks are the actions that go on while nobody looks: a pass, a comparison with the
// server, a sign-in elsewhere; one of a kind for each provider, and few at a time.
type tasks struct {
	ctx context.Context //nolint:containedctx // the server's: a task outlives the request that began it
	wg  sync.WaitGroup

	mu      sync.Mutex
	known   map[taskKey]*taskView
	running int
}

type taskKey struct {
	ref  db.Ref
	kind string
}

type taskView struct {
	Kind    string
	Began   time.Time
	Ended   time.Time // zero while it runs
	Done    int
	Total   int
	Lines   []provider.Progress
	Outcome string // in words, when it went well
	Err     string
}

// Running reports whether it goes on.
func (t taskView) Running() bool { return t.Ended.IsZero() }

const (
	maxTasks     = 8
	maxTaskLines = 200
	maxTasksKept = 500
)

var (
	errTaskRuns = errors.New("it is under way already")
	errTooMany  = errors.New("too much is under way: try again in a minute")
)

func (t *tasks) begin(ref db.Ref, kind string, do func(ctx context.Context, report func(provider.Progress)) (string, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := taskKey{ref, kind}
	if old := t.known[key]; old != nil && old.Running() {
		return errTaskRuns
	}
	if t.running >= maxTasks {
		return errTooMany
	}
	// What ended before is forgotten, of this provider, and of all when there is too much of it.
	full := len(t.known) >= maxTasksKept
	maps.DeleteFunc(t.known, func(key taskKey, view *taskView) bool { return !view.Running() && (full || key.ref == ref) })
	view := &taskView{Kind: kind, Began: time.Now()}
	t.known[key] = view
	t.running++
	t.wg.Go(func() {
		outcome, err := do(t.ctx, func(p provider.Progress) { t.report(view, p) })
		t.mu.Lock()
		defer t.mu.Unlock()
		t.running--
		view.Ended, view.Outcome = time.Now(), outcome
		if err != nil {
			view.Err = err.Error()
		}
	})
	return nil
}

func (t *tasks) report(view *taskView, p provider.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	view.Done, view.Total = p.Done, max(p.Total, p.Done)
	if p.Text != "" && len(view.Lines) < maxTaskLines {
		view.Lines = append(view.Lines, p)
	}
}

func (t *tasks) of(ref db.Ref) []taskView {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []taskView
	for _, kind := range []string{taskDevice, taskSync, taskReconcile} {
		if view := t.known[taskKey{ref, kind}]; view != nil {
			c := *view
			c.Lines = slices.Clone(view.Lines)
			list = append(list, c)
		}
	}
	return list
}
