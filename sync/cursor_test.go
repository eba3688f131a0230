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
	ago := func(minutes int) *time.Time { t := now.Add(-time.Duration(minutes) * time.Minute); return &t }
	proven := db.FolderState{GapSince: ago(15), GapLooks: gapLooks, GapSessions: gapSessions}
	with := func(change func(st *db.FolderState)) db.FolderState {
		st := proven
		change(&st)
		return st
	}
	for name, tt := range map[string]struct {
		state   db.FolderState
		handled []db.Handled
		wanted  []uint32 // that a count shows
		settled uint32   // by the ledger
		gaps    uint32   // over gaps as well
		last    uint32
	}{
		"nothing handled":           {state: db.FolderState{SettledUID: 5, LastUID: 5}, settled: 5, gaps: 5, last: 5},
		"in a row":                  {state: db.FolderState{SettledUID: 5}, handled: at(now, 0, 6, 7, 8), settled: 8, gaps: 8, last: 8},
		"an old gap, proven":        {state: proven, handled: at(now, 20, 1, 2, 4), settled: 2, gaps: 4, last: 4},
		"a young gap":               {state: proven, handled: at(now, 1, 1, 2, 4), settled: 2, gaps: 2, last: 4},
		"looks for too short":       {state: with(func(st *db.FolderState) { st.GapSince = ago(14) }), handled: at(now, 20, 1, 4), settled: 1, gaps: 1, last: 4},
		"two looks":                 {state: with(func(st *db.FolderState) { st.GapLooks-- }), handled: at(now, 20, 1, 4), settled: 1, gaps: 1, last: 4},
		"on one connection":         {state: with(func(st *db.FolderState) { st.GapSessions-- }), handled: at(now, 20, 1, 4), settled: 1, gaps: 1, last: 4},
		"shrunk for an hour":        {state: with(func(st *db.FolderState) { st.ShrunkAt = ago(60) }), handled: at(now, 20, 1, 4), settled: 1, gaps: 1, last: 4},
		"shrunk the day before":     {state: with(func(st *db.FolderState) { st.ShrunkAt = ago(24 * 60) }), handled: at(now, 20, 1, 4), settled: 1, gaps: 4, last: 4},
		"shown in the gap":          {state: proven, handled: at(now, 20, 1, 9), wanted: []uint32{1, 5, 12}, settled: 1, gaps: 4, last: 9},
		"shown above the gap":       {state: proven, handled: at(now, 20, 1, 9), wanted: []uint32{12}, settled: 1, gaps: 9, last: 9},
		"old gap below a young":     {state: proven, handled: slices.Concat(at(now, 20, 2), at(now, 1, 4)), settled: 0, gaps: 2, last: 4},
		"age counts from the first": {state: proven, handled: slices.Concat(at(now, 1, 2), at(now, 20, 9)), settled: 0, gaps: 9, last: 9},
		"rows below the cursor":     {state: db.FolderState{SettledUID: 5}, handled: at(now, 0, 3, 4, 6), settled: 6, gaps: 6, last: 6},
		"at the end of the numbers": {
			state:   db.FolderState{SettledUID: imapsession.MaxUID - 2},
			handled: at(now, 0, imapsession.MaxUID-1, imapsession.MaxUID), settled: imapsession.MaxUID, gaps: imapsession.MaxUID, last: imapsession.MaxUID,
		},
		"renumbered: LastUID stands": {
			state:   with(func(st *db.FolderState) { st.LastUID, st.ResyncSince = 3, &now }),
			handled: at(now, 20, 1, 9), settled: 1, gaps: 1, last: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cursor{FolderState: tt.state, handled: tt.handled}
			c.settle()
			if c.SettledUID != tt.settled || c.LastUID != tt.last {
				t.Errorf("settled %d, last %d; want %d and %d", c.SettledUID, c.LastUID, tt.settled, tt.last)
			}
			c.settleGaps(tt.wanted, now)
			if c.SettledUID != tt.gaps || c.LastUID != tt.last {
				t.Errorf("over gaps: settled %d, last %d; want %d and %d", c.SettledUID, c.LastUID, tt.gaps, tt.last)
			}
		})
	}
}

// TestGapsAreLookedFor goes through the looks that are evidence: three, of which one is
// on another connection, within a time; younger gaps wait for the next three.
func TestGapsAreLookedFor(t *testing.T) {
	start := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	c := &cursor{handled: at(start, 0, 1, 3)}
	look := func(minute int, opened int) {
		now := start.Add(time.Duration(minute) * time.Minute)
		c.settle()
		c.looked(4, start.Add(time.Duration(opened)*time.Minute), now)
		c.settleGaps(nil, now)
		c.LastSearchAt = &now
	}
	type looks struct{ Settled, Looks, Sessions int }
	for i, step := range []struct {
		minute, opened int
		want           looks
	}{
		{1, 1, looks{1, 1, 1}},
		{5, 1, looks{1, 2, 1}},
		{16, 1, looks{1, 3, 1}}, // long enough, by one connection
		{17, 17, looks{3, 0, 0}},
	} {
		if look(step.minute, step.opened); (looks{int(c.SettledUID), c.GapLooks, c.GapSessions}) != step.want {
			t.Errorf("step %d: settled %d after %d looks on %d connections, want %+v", i, c.SettledUID, c.GapLooks, c.GapSessions, step.want)
		}
		if wants := wantsConnection(&c.FolderState, start.Add(17*time.Minute)); wants != (step.minute == 5 || step.minute == 16) {
			t.Errorf("step %d: another connection is wanted: %v", i, wants)
		}
	}
	// A gap that opens while an older one is looked for waits for the next looks.
	c = &cursor{handled: slices.Concat(at(start, 0, 1, 3), at(start, -10, 5))}
	for minute := range 16 {
		look(minute, minute)
	}
	if look(16, 16); c.SettledUID != 3 || c.GapLooks == 0 || c.GapSince.Before(start.Add(14*time.Minute)) {
		t.Errorf("settled %d, looked %d times since %s; want 3, and looked for anew", c.SettledUID, c.GapLooks, c.GapSince)
	}
	for minute := 17; minute < 33; minute++ {
		look(minute, minute)
	}
	if c.SettledUID != 5 || c.GapSince != nil {
		t.Errorf("settled %d, looked for since %v; want 5, and no gap", c.SettledUID, c.GapSince)
	}
}

func TestUnseenIsWhatEXISTSCountsBeyondWhatWasFound(t *testing.T) {
	for name, tt := range map[string]struct {
		state  db.FolderState
		exists int64
		wanted int
		want   int64
	}{
		"nothing new":                    {db.FolderState{LastUID: 9, Exists: 5}, 5, 0, 0},
		"as many as came":                {db.FolderState{LastUID: 9, Exists: 5}, 8, 3, 0},
		"fewer than came":                {db.FolderState{LastUID: 9, Exists: 5}, 8, 1, 2},
		"nothing found, never read":      {db.FolderState{}, 3, 0, 3},
		"some expunged":                  {db.FolderState{LastUID: 9, Exists: 5}, 3, 0, 0},
		"the backlog was there before":   {db.FolderState{LastUID: 9, Exists: 5, Backlog: 2}, 6, 3, 0},
		"the backlog is no longer shown": {db.FolderState{LastUID: 9, Exists: 5, Backlog: 2}, 5, 0, 2},
		"the backlog was expunged":       {db.FolderState{LastUID: 9, Exists: 5, Backlog: 2}, 3, 0, 0},
		"not known, and never read":      {db.FolderState{Exists: -1}, 3, 0, 3},
		"not known":                      {db.FolderState{LastUID: 9, Exists: -1}, 3, 0, 0},
		"the search was narrowed":        {db.FolderState{LastUID: 9, ResyncSince: new(time.Time)}, 3, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&cursor{FolderState: tt.state}).unseen(tt.exists, tt.wanted); got != tt.want {
				t.Errorf("%d unseen, want %d", got, tt.want)
			}
		})
	}
}

func TestSurplusBecomesTheFoldersOwn(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	c := &cursor{}
	count := func(exists int64, shown int) { c.counted(exists, make([]uint32, shown), nil, now) }
	for hour := range 27 {
		count(10, 8)
		if own := !Doubtful(&c.FolderState, now); own != (hour >= 24) {
			t.Fatalf("after %d hours and %d looks: the folder's own: %v", hour, c.SurplusLooks, own)
		}
		now = now.Add(time.Hour)
	}
	count(11, 9)
	if Doubtful(&c.FolderState, now) {
		t.Error("a new message, shown, opens it again")
	}
	count(11, 8)
	if c.Surplus != 3 || !Doubtful(&c.FolderState, now) {
		t.Error("another number is the folder's own at once")
	}
	if count(11, 11); c.Surplus != 0 || c.SurplusSince != nil {
		t.Error("what adds up is a surplus")
	}
	count(10, 9)
	now = now.Add(48 * time.Hour)
	if count(10, 9); !Doubtful(&c.FolderState, now) {
		t.Error("two looks are enough")
	}
}

func TestFoldersAreCountedOnceADayEachAtItsTime(t *testing.T) {
	start := time.Date(2026, 3, 2, 10, 30, 0, 0, time.UTC)
	counts := map[int]int{} // folders by the hour of their count
	for hash := range uint64(24) {
		st := db.FolderState{Exists: 10, LastSearchAt: &start}
		n := 0
		for minute := range 3 * 24 * 60 {
			now := start.Add(time.Duration(minute) * time.Minute)
			if countDue(&st, hash*3600, now) {
				n++
				counts[now.Hour()]++
				st.CountedAt = &now
			}
		}
		if n != 3 {
			t.Errorf("hash %d: counted %d times in three days", hash, n)
		}
	}
	if len(counts) != 24 {
		t.Errorf("24 folders are counted at %d hours of the day: %v", len(counts), counts)
	}
	late := start.Add(24 * time.Hour)
	if lately := late.Add(-50 * time.Minute); !countDue(&db.FolderState{Exists: 5, LastSearchAt: &lately}, 14*3600, late.Add(-10*time.Minute)) {
		t.Error("a folder that was never counted, and is searched all the time, is not due")
	}
	for name, st := range map[string]db.FolderState{
		"empty": {LastSearchAt: &start}, "never searched": {Exists: 5}, "too many": {Exists: maxCounted + 1, LastSearchAt: &start},
		"every third day": {Exists: 2*countedDaily + 1, LastSearchAt: &start},
	} {
		if countDue(&st, 0, start.Add(24*time.Hour-time.Second)) {
			t.Errorf("%s: due", name)
		}
	}
}

func TestFailure17_WantedLeavesOutWhatIsKnownTwiceOrBelow(t *testing.T) {
	c := cursor{FolderState: db.FolderState{SettledUID: 10}, handled: at(time.Now(), 0, 12, 15)}
	c.handled = append(c.handled, db.Handled{UID: 17, Expunged: true})
	c.late = []uint32{3, 4}
	got := c.wanted([]uint32{20, 10, 11, 15, 11, 3, 12, 13, 17})
	if diff := cmp.Diff([]uint32{3, 11, 13, 17, 20}, got); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
}

func TestFailure18_UIDNEXTIsAHint(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	lately, longAgo := now.Add(-time.Minute), now.Add(-2*searchAnyway)
	quiet := db.FolderState{UIDValidity: 7, SettledUID: 9, LastUID: 9, UIDNext: 10, LastSearchAt: &lately, Exists: 3}
	status := imapsession.FolderStatus{UIDValidity: 7, UIDNext: 10, Messages: 3}
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
		"UIDNEXT ahead, looked for": {func(st *db.FolderState, _ *imapsession.FolderStatus) {
			since := now.Add(-gapPatience)
			st.LastUID, st.SettledUID, st.GapLooks, st.GapSince = 5, 5, gapLooks, &since
		}, true},
		"UIDNEXT ahead, looked for twice": {func(st *db.FolderState, _ *imapsession.FolderStatus) {
			since := now.Add(-gapPatience)
			st.LastUID, st.SettledUID, st.GapLooks, st.GapSince = 5, 5, gapLooks-1, &since
		}, false},
		"MESSAGES rose":    {func(_ *db.FolderState, s *imapsession.FolderStatus) { s.Messages = 4 }, false},
		"MESSAGES fell":    {func(_ *db.FolderState, s *imapsession.FolderStatus) { s.Messages = 2 }, false},
		"MESSAGES missing": {func(_ *db.FolderState, s *imapsession.FolderStatus) { s.Messages = -1 }, false},
		"MESSAGES missing, never known": {func(st *db.FolderState, s *imapsession.FolderStatus) {
			st.Exists, s.Messages = -1, -1
		}, false},
		"a surplus": {func(st *db.FolderState, _ *imapsession.FolderStatus) { st.Surplus, st.SurplusSince = 1, &lately }, false},
		"the folder's surplus": {func(st *db.FolderState, _ *imapsession.FolderStatus) {
			since := now.Add(-surplusPatience)
			st.Surplus, st.SurplusLooks, st.SurplusSince = 1, surplusLooks, &since
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
