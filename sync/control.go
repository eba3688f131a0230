package sync

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/publish"
)

// The control is a message that was handled before. When a body is not given, that of
// the control tells whether the server gives any.
const (
	controlsInFolder = 2  // so many are asked for: one of them may be at fault itself
	controlFolders   = 3  // of the account, where the folder has none
	controlChoice    = 50 // handled messages out of which the smallest still there is taken
)

// control asks for the body of a message that was handled before, on a connection that
// was made after the last failure: in this folder, else in another one of the account.
// found is false when there is none.
func (f *folderPass) control(ctx context.Context) (gives, found bool, err error) {
	last := -1
	f.controlLeast, f.controlSize = 0, 0
	for _, m := range f.aside {
		last, f.controlLeast = max(last, m.failedOn), max(f.controlLeast, alike(m.Size))
	}
	if f.reconnects <= last || !f.session.Alive() {
		if err := f.reopen(ctx); err != nil {
			return false, false, err
		}
	}
	gives, found, err = f.controlIn(ctx, &f.cursor.FolderState)
	if found || err != nil {
		return gives, found, err
	}
	if f.exists > 1 {
		return false, false, nil // those that wait are each other's control: what another folder gives proves nothing about this one
	}
	if gives, found = f.gaveBodies > last, f.gaveBodies > last; !found { // else another folder's came in this pass
		gives, found, err = f.controlElsewhere(ctx)
	}
	f.controlSize = ofAnotherFolder
	return gives, found, err
}

// ofAnotherFolder in place of the size of a control says that it is evidence of little.
const ofAnotherFolder = -1

// controlIn takes the control out of one folder, which is open.
func (f *folderPass) controlIn(ctx context.Context, st *db.FolderState) (gives, found bool, err error) {
	list, err := f.controls(ctx, st)
	for _, c := range list {
		if !f.session.Alive() && st.Folder != f.status.Name {
			break
		}
		if !f.session.Alive() {
			if err := f.reopen(ctx); err != nil {
				return false, true, err
			}
		}
		gives, tells := f.givesBody(c)
		if found = found || tells; gives {
			f.gaveBodies = f.reconnects
			return true, true, nil
		}
	}
	return false, found, err
}

// controlElsewhere takes the control out of another folder of the account.
func (f *folderPass) controlElsewhere(ctx context.Context) (gives, found bool, err error) {
	asked := 0
	for _, name := range slices.Sorted(maps.Keys(f.states)) {
		if name == f.status.Name || asked == controlFolders {
			continue
		}
		asked++
		selected, err := f.session.Examine(name)
		if err == nil && (selected.UIDValidity == 0 || selected.UIDValidity == f.states[name].UIDValidity) {
			if gives, found, err = f.controlIn(ctx, f.states[name]); err != nil {
				return false, false, err
			}
		}
		if gives || found || !f.session.Alive() {
			break
		}
	}
	if f.session.Alive() {
		return gives, found, f.examineAgain()
	}
	return gives, found, f.reopen(ctx)
}

// control is a handled message that the server still has.
type control struct {
	imapsession.Listed
	key string
}

// controls lists messages of a folder that were handled and are still there, or that
// were there before the first look: the smallest of the size of those that failed, where
// there is one.
func (f *folderPass) controls(ctx context.Context, st *db.FolderState) ([]control, error) {
	handled, err := f.runner.Store.SmallestHandled(ctx, f.ref, st.Folder, st.UIDValidity, f.controlLeast, controlChoice)
	if err != nil {
		return nil, err
	}
	byUID := map[uint32]db.Message{}
	for _, row := range handled {
		byUID[row.UID] = row
	}
	list, err := f.stillThere(slices.Collect(maps.Keys(byUID)))
	if err == nil && len(list) == 0 && st.StartUID > 0 {
		var before []uint32
		if before, err = f.session.Search(1, st.StartUID, nil); err == nil {
			slices.Sort(before)
			list, err = f.stillThere(before[max(0, len(before)-controlChoice):])
		}
	}
	if err != nil {
		f.log.Info("control", "error", err.Error())
		return nil, nil // a server that does not list messages says nothing about bodies
	}
	var controls []control
	for _, l := range list[:min(len(list), controlsInFolder)] {
		l.Size = cmp.Or(l.Size, byUID[l.UID].Size)
		controls = append(controls, control{Listed: l, key: byUID[l.UID].EventKey})
	}
	return controls, nil
}

// stillThere leaves of UIDs those that the server has, in the order of controls.
func (f *folderPass) stillThere(uids []uint32) ([]imapsession.Listed, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	found, err := f.session.FetchSizes(uids)
	list := slices.Collect(maps.Values(found))
	slices.SortFunc(list, func(a, b imapsession.Listed) int {
		larger, least := cmp.Compare(a.Size, b.Size), f.controlLeast
		if (a.Size < least) != (b.Size < least) {
			return -larger
		}
		return cmp.Or(larger, cmp.Compare(b.UID, a.UID))
	})
	return slices.DeleteFunc(list, func(l imapsession.Listed) bool { return l.Size > f.maxMessageBytes() }), err
}

// givesBody reports whether the server gives a message whole: with the content that was
// published, or to the byte as long as it says. Where it is not known what was published,
// about as long will do, and a shorter one tells nothing: sizes may be estimates.
func (f *folderPass) givesBody(c control) (gives, tells bool) {
	m := f.bodyOf(c)
	gives = m.whole && (c.key == "" || int64(len(m.raw)) == c.Size) || c.isIn(m)
	reason := errors.New("whole")
	switch f.controlSize = int64(len(m.raw)); {
	case !gives && m.failure != nil:
		reason = m.failure.err
	case !gives:
		reason = errors.New("it is not what was published")
	}
	f.log.Info("control", "uid", c.UID, "gives", gives, "error", reason.Error())
	f.runner.buffers.Put(m.raw)
	return gives, gives || c.key != "" || m.failure == nil || m.failure.code != shortBody
}

// bodyOf asks for the body of a control.
func (f *folderPass) bodyOf(c control) *message {
	m := newMessage(c.UID)
	m.Listed = c.Listed
	if err := f.fetchBodies([]*message{m}, func(_ uint32, raw []byte) bool { m.raw = raw; return true }); err != nil {
		m.fail("fetch", "", err)
	} else {
		checkBody(m)
	}
	f.bytes.Add(int64(len(m.raw)))
	return m
}

// isIn reports whether what came of a control is what was published of it.
func (c control) isIn(m *message) bool {
	came := m.failure == nil || m.failure.code == shortBody && len(m.raw) > 0
	return came && c.key != "" && publish.Identify(m.raw).Key == c.key
}

// estimates reports whether the server's sizes are estimates: it gives all of a message
// that was published, and that is less than it says.
func (f *folderPass) estimates(ctx context.Context) (bool, error) {
	list, err := f.controls(ctx, &f.cursor.FolderState)
	for _, c := range list {
		if err != nil || !f.session.Alive() {
			break
		}
		m := f.bodyOf(c)
		estimated := c.isIn(m) && int64(len(m.raw)) < c.Size
		if f.runner.buffers.Put(m.raw); estimated {
			return true, nil
		}
	}
	if err == nil && !f.session.Alive() {
		err = f.reopen(ctx)
	}
	return false, err
}
