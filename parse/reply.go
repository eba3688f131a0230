package parse
func newReply(m *Message) *Reply { return nil }
