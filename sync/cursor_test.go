package sync

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// at makes ledger rows handled a number of minutes before now.
func at(now time.Time, minutes int, uids ...uint32) []db.Handled {
	var list []db.Handled
	for _, uid := range uids {
		list = append(list, db.Handled{UID: uid, ProcessedAt: now.Add(-time.Duration(minutes) * time.Minute)})
	}
	return list
}

func TestFailure02_CursorMovesOnlyOverWhatIsFinal(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		state     db.FolderState
		handled   []db.Handled
		confirmed bool
		settled   uint32
		last      uint32
	}{
		"nothing handled":            {state: db.FolderState{SettledUID: 5, LastUID: 5}, settled: 5, last: 5},
		"in a row":                   {state: db.FolderState{SettledUID: 5}, handled: at(now, 0, 6, 7, 8), settled: 8, last: 8},
		"a young gap stays open":     {handled: at(now, 1, 1, 2, 4), confirmed: true, settled: 2, last: 4},
		"an old gap, not asked for":  {handled: at(now, 20, 1, 2, 4), settled: 2, last: 4},
		"an old gap, confirmed":      {handled: at(now, 20, 1, 2, 4), confirmed: true, settled: 4, last: 4},
		"ten searches, confirmed":    {state: db.FolderState{GapPasses: gapPasses}, handled: at(now, 1, 1, 2, 4), confirmed: true, settled: 4, last: 4},
		"old gap below a young one":  {handled: slices.Concat(at(now, 20, 2), at(now, 1, 4)), confirmed: true, settled: 2, last: 4},
		"age counts from the first":  {handled: slices.Concat(at(now, 1, 2), at(now, 20, 9)), confirmed: true, settled: 9, last: 9},
		"rows below the cursor":      {state: db.FolderState{SettledUID: 5}, handled: at(now, 0, 3, 4, 6), settled: 6, last: 6},
		"at the end of the numbers":  {state: db.FolderState{SettledUID: imapsession.MaxUID - 2}, handled: at(now, 0, imapsession.MaxUID-1, imapsession.MaxUID), settled: imapsession.MaxUID, last: imapsession.MaxUID},
		"renumbered: LastUID stands": {state: db.FolderState{LastUID: 3, ResyncSince: &now}, handled: at(now, 0, 1, 9), settled: 1, last: 3},
	} {
		t.Run(name, func(t *testing.T) {
			st := cursor{tt.state, tt.handled}
			st.settle(now, tt.confirmed)
			if st.SettledUID != tt.settled || st.LastUID != tt.last {
				t.Errorf("settled %d, last %d; want %d and %d", st.SettledUID, st.LastUID, tt.settled, tt.last)
			}
		})
	}
}

func TestExpiredGaps(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	handled := slices.Concat(at(now, 30, 2, 3, 7), at(now, 1, 20))
	_, from, to := (&cursor{handled: handled}).reach(now, true)
	if from != 1 || to != 6 {
		t.Errorf("got %d to %d, want 1 to 6", from, to)
	}
	if _, _, to := (&cursor{db.FolderState{SettledUID: 7}, handled}).reach(now, true); to != 0 {
		t.Error("a young gap is called expired")
	}
}

func TestFailure17_WantedLeavesOutWhatIsKnownTwiceOrBelow(t *testing.T) {
	c := cursor{db.FolderState{SettledUID: 10}, at(time.Now(), 0, 12, 15)}
	got := c.wanted([]uint32{20, 10, 11, 15, 11, 3, 12, 13})
	if diff := cmp.Diff([]uint32{11, 13, 20}, got); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
}

func TestFailure18_UIDNEXTIsAHint(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	lately, longAgo := now.Add(-time.Minute), now.Add(-2*searchAnyway)
	quiet := db.FolderState{UIDValidity: 7, SettledUID: 9, LastUID: 9, UIDNext: 10, LastSearchAt: &lately}
	status := imapsession.FolderStatus{UIDValidity: 7, UIDNext: 10}
	for name, tt := range map[string]struct {
		change func(st *db.FolderState, status *imapsession.FolderStatus)
		want   bool
	}{
		"nothing new":                   {func(*db.FolderState, *imapsession.FolderStatus) {}, true},
		"UIDNEXT went on":               {func(_ *db.FolderState, s *imapsession.FolderStatus) { s.UIDNext = 11 }, false},
		"UIDNEXT went back":             {func(_ *db.FolderState, s *imapsession.FolderStatus) { s.UIDNext = 5 }, false},
		"UIDNEXT missing":               {func(_ *db.FolderState, s *imapsession.FolderStatus) { s.UIDNext = 0 }, false},
		"UIDVALIDITY missing":           {func(_ *db.FolderState, s *imapsession.FolderStatus) { s.UIDValidity = 0 }, false},
		"UIDVALIDITY changed":           {func(_ *db.FolderState, s *imapsession.FolderStatus) { s.UIDValidity = 8 }, false},
		"an open gap":                   {func(st *db.FolderState, _ *imapsession.FolderStatus) { st.SettledUID = 8 }, false},
		"a backlog":                     {func(st *db.FolderState, _ *imapsession.FolderStatus) { st.Backlog = 1 }, false},
		"killed in mid-pass":            {func(st *db.FolderState, _ *imapsession.FolderStatus) { st.InFlight = []int64{10} }, false},
		"UIDs given out, not yet shown": {func(st *db.FolderState, _ *imapsession.FolderStatus) { st.LastUID, st.SettledUID = 5, 5 }, false},
		"UIDNEXT ahead, ten times looked": {func(st *db.FolderState, _ *imapsession.FolderStatus) {
			st.LastUID, st.SettledUID, st.GapPasses = 5, 5, gapPasses
		}, true},
		"not looked for long": {func(st *db.FolderState, _ *imapsession.FolderStatus) { st.LastSearchAt = &longAgo }, false},
	} {
		t.Run(name, func(t *testing.T) {
			st, s := quiet, status
			tt.change(&st, &s)
			if got := nothingNew(&st, s, now); got != tt.want {
				t.Errorf("nothingNew = %v, want %v", got, tt.want)
			}
		})
	}
	if nothingNew(nil, status, now) {
		t.Error("a folder never seen has nothing new")
	}
}
