package parse
func label(m *Message, root *part, c *content) {}
func newReply(m *Message) *Reply { return nil }
