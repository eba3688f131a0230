package imapwire

// weight is what a server has said since it last ended a command. Noise without end would
// cost minutes of processor time otherwise, a response at a time and each within its
// deadline.
type weight struct {
	size   int64 // bytes of the response under way, bodies aside
	answer bool  // it is of use to who asked
	kept   bool  // so are its UIDs, which have a bound of their own

	answers, others int
	noise           int64 // bytes of others
}

// weigh adds the response that has ended, or of which the body comes next.
func (w *Conn) weigh() error {
	m := &w.weight
	size := m.size
	switch {
	case size == 0: // nothing was read: what came before was a piece, too
	case m.kept:
	case m.answer:
		m.answers++
	default:
		m.others++
		m.noise += size
	}
	if m.answer || m.kept {
		w.mu.Lock()
		w.useful += size
		w.mu.Unlock()
	}
	m.size, m.answer, m.kept = 0, false, false
	if most := w.lim.Responses; m.answers > most || m.others > most {
		return overLimitf("server sent more than %d responses and did not end the command", most)
	}
	if m.noise > w.lim.Noise {
		return overLimitf("server sent more than %d bytes that nobody asked for and did not end the command", w.lim.Noise)
	}
	return nil
}

// searching says that what is read from now on is of use, byte by byte: the numbers of a
// search may take long.
func (w *Conn) searching(now bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inSearch = now
}
