package publish

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"imapsync/event"
	"imapsync/internal/devenv"
)

func TestForbidden(t *testing.T) {
	n := devenv.TestNATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"mail.>"}},
		}}}
	})
	nc, err := Connect(testContext(t), ConnectOptions{URL: strings.Replace(n.URL(), "nats://", "nats://u:p@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p := newPublisher(t, nc, PublisherOptions{})
	if _, err := tryPublish(testContext(t), p, numbered(1, p.Limits())); !errors.Is(err, event.ErrConfig) {
		t.Errorf("%v, want ErrConfig", err)
	}
}

func TestConnect(t *testing.T) {
	const pass = "hunter2-Tr0ub4dor"
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		for {
			if _, err := silent.Accept(); err != nil {
				return
			}
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	locked := devenv.TestNATS(t, func(o *server.Options) { o.Username, o.Password = "u", "other" })
	host := strings.TrimPrefix(locked.URL(), "nats://")
	emptyCreds := filepath.Join(t.TempDir(), "creds")
	if err := os.WriteFile(emptyCreds, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o    ConnectOptions
		want error
		in   string
	}{
		"nobody listens":   {ConnectOptions{URL: "nats://u:" + pass + "@" + closed.Addr().String()}, event.ErrUnreachable, closed.Addr().String()},
		"silence":          {ConnectOptions{URL: "nats://u:" + pass + "@" + silent.Addr().String(), Timeout: 300 * time.Millisecond}, event.ErrUnreachable, silent.Addr().String()},
		"several":          {ConnectOptions{URL: closed.Addr().String() + ", nats://" + pass + "@" + closed.Addr().String()}, event.ErrUnreachable, "nats://" + closed.Addr().String() + ",nats://"},
		"wrong password":   {ConnectOptions{URL: "nats://u:" + pass + "@" + host}, event.ErrConfig, host},
		"no URL":           {ConnectOptions{}, event.ErrConfig, "no URL"},
		"bad URL":          {ConnectOptions{URL: "nats://u:" + pass + "%zz@h"}, event.ErrConfig, "cannot be read"},
		"bad port":         {ConnectOptions{URL: "nats://u:" + pass + "@h:port"}, event.ErrConfig, "cannot be read"},
		"bad scheme":       {ConnectOptions{URL: "http://u:" + pass + "@h"}, event.ErrConfig, `"http"`},
		"scheme and port":  {ConnectOptions{URL: "http://u:" + pass + "@h:4222"}, event.ErrConfig, `"http"`},
		"no creds file":    {ConnectOptions{URL: "nats://" + host, CredsFile: "/nowhere/creds"}, event.ErrConfig, "/nowhere/creds"},
		"empty creds file": {ConnectOptions{URL: "nats://" + host, CredsFile: emptyCreds}, event.ErrConfig, "no user"},
		"no ca file":       {ConnectOptions{URL: "nats://" + host, CAFile: "/nowhere/ca"}, event.ErrConfig, "/nowhere/ca"},
	} {
		t.Run(name, func(t *testing.T) {
			started := time.Now()
			nc, err := Connect(testContext(t), tt.o)
			if err == nil {
				nc.Close()
				t.Fatal("connected")
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.in) {
				t.Errorf("%v, want %v naming %s", err, tt.want, tt.in)
			}
			if strings.Contains(err.Error(), pass) {
				t.Errorf("%v shows the password", err)
			}
			if took := time.Since(started); took > 30*time.Second { // it does not wait forever
				t.Errorf("took %v", took)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, ConnectOptions{URL: "nats://" + silent.Addr().String()}); !errors.Is(err, event.ErrUnreachable) {
		t.Errorf("ctx: %v, want ErrUnreachable", err)
	}
}
