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

// testCluster starts three servers and returns a connection to one of them.
func testCluster(t *testing.T) *nats.Conn {
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
	var one *devenv.NATS
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
		one = n
	}
	return connect(t, one)
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
		until := time.Now().Add(30 * time.Second)
		s, err := EnsureStream(testContext(t), js, o)
		for ; err != nil && time.Now().Before(until); s, err = EnsureStream(testContext(t), js, o) { // the servers have yet to find a leader
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
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
	nc := testCluster(t)
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
