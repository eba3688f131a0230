package devenv

import (
	"bufio"
	"bytes"
	"net"
	"testing"
)

func TestProxyFiltersAndCuts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // an echo
				r := bufio.NewReader(c)
				for line, err := r.ReadBytes('\n'); err == nil; line, err = r.ReadBytes('\n') {
					c.Write(line)
				}
			}()
		}
	}()
	p := TestProxy(t, l.Addr().String(), bytes.ToUpper)
	for range 2 {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		c.Write([]byte("hello\n"))
		if line, err := r.ReadString('\n'); line != "HELLO\n" {
			t.Errorf("got %q, %v", line, err)
		}
		p.Cut()
		if line, err := r.ReadString('\n'); err == nil {
			t.Errorf("after the cut: %q", line)
		}
	}
	p.Refuse(true)
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		c.Write([]byte("hello\n"))
		if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			t.Errorf("while it refuses: %q", line)
		}
	}
}
