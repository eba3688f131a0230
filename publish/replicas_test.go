package publish

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/internal/devenv"
)

// testCluster starts three servers, n0 to n2, and returns a connection to the last.
func testCluster(t *testing.T) (*nats.Conn, []*devenv.NATS) {
	t.Helper()
	var ports []int
	var routes []string
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
		routes = append(routes, "nats://"+ln.Addr().String())
		ln.Close()
	}
	var servers []*devenv.NATS
	for i, port := range ports {
		n, err := devenv.StartNATS(testContext(t), func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}
			o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		servers = append(servers, n)
	}
	return connect(t, servers[2]), servers
}

// ensured makes the stream as soon as the servers have found a leader.
func ensured(t *testing.T, js jetstream.JetStream, o MakeOptions) jetstream.Stream {
	t.Helper()
	until := time.Now().Add(30 * time.Second)
	s, err := EnsureStream(testContext(t), js, o)
	for ; err != nil && time.Now().Before(until); s, err = EnsureStream(testContext(t), js, o) {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A stream whose servers are all away comes back with them: nothing is wrong with the
// configuration.
func TestServersOfTheStreamAreAway(t *testing.T) {
	t.Parallel()
	nc, servers := testCluster(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream := ensured(t, js, MakeOptions{Replicas: 1})
	var at int
	if _, err := fmt.Sscanf(stream.CachedInfo().Cluster.Leader, "n%d", &at); err != nil {
		t.Fatal(err)
	}
	other, err := jetstream.New(connect(t, servers[(at+1)%3]))
	if err == nil {
		err = servers[at].Stop()
	}
	if err != nil {
		t.Fatal(err)
	}
	for ctx := testContext(t); ; {
		_, err := EnsureStream(ctx, other, MakeOptions{Replicas: 1})
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == 10118 {
			if !errors.Is(err, event.ErrTimeout) || errors.Is(err, event.ErrStream) {
				t.Errorf("%v, want ErrTimeout", err)
			}
			return
		}
		if ctx.Err() != nil || err == nil {
			t.Fatalf("%v, want a stream that is offline", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A stream and a bucket that are made have three copies where there are servers for
// them, one where there is one, and as many as were asked for.
func TestReplicas(t *testing.T) {
	t.Parallel()
	made := func(t *testing.T, nc *nats.Conn, o MakeOptions) (stream, bucket int) {
		t.Helper()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		s := ensured(t, js, o)
		b, err := OpenBlobs(testContext(t), nc, BlobOptions{Create: true, Make: o})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(js.DeleteStream(testContext(t), event.StreamName), js.DeleteObjectStore(testContext(t), event.DefaultBucket)); err != nil {
			t.Fatal(err)
		}
		if ps := OneReplica(s.CachedInfo().Config); (len(ps) == 0) != (s.CachedInfo().Config.Replicas > 1) {
			t.Errorf("doctor says %v of %d replicas", ps, s.CachedInfo().Config.Replicas)
		}
		return s.CachedInfo().Config.Replicas, b.State().Replicas
	}
	nc, _ := testCluster(t)
	if stream, bucket := made(t, nc, MakeOptions{}); stream != 3 || bucket != 3 {
		t.Errorf("in a cluster: %d and %d replicas, want 3", stream, bucket)
	}
	if stream, bucket := made(t, nc, MakeOptions{Replicas: 1}); stream != 1 || bucket != 1 {
		t.Errorf("asked for 1: %d and %d replicas", stream, bucket)
	}
	alone := connect(t, devenv.TestNATSServer(t))
	if stream, bucket := made(t, alone, MakeOptions{}); stream != 1 || bucket != 1 {
		t.Errorf("of one server: %d and %d replicas, want 1", stream, bucket)
	}
	js, err := jetstream.New(alone)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureStream(testContext(t), js, MakeOptions{Replicas: 3}); !errors.Is(err, event.ErrStream) {
		t.Errorf("asked for 3 of one server: %v, want ErrStream", err)
	}
}
