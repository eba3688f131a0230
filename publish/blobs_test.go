package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/parse"
)

func openBlobs(t testing.TB, nc *nats.Conn) *Blobs {
	t.Helper()
	b, err := OpenBlobs(testContext(t), nc, BlobOptions{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keyOf(data []byte) string {
	sum := sha256.Sum256(data)
	return BlobKey(testTenant, testProvider, hex.EncodeToString(sum[:]))
}

func reader(data []byte) func() io.Reader { return func() io.Reader { return bytes.NewReader(data) } }

func put1(t testing.TB, b *Blobs, data []byte) (stored bool) {
	t.Helper()
	stored, err := b.Put(testContext(t), keyOf(data), int64(len(data)), reader(data))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func get(t testing.TB, b *Blobs, key string) ([]byte, error) {
	t.Helper()
	r, _, err := b.Get(testContext(t), key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// messages counts what the bucket's stream holds: chunks and metadata.
func messages(t testing.TB, b *Blobs) (chunks, metas uint64) {
	t.Helper()
	info, err := b.stream.Info(testContext(t), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	for subject, n := range info.State.Subjects {
		if strings.Contains(subject, ".C.") {
			chunks += n
		} else {
			metas += n
		}
	}
	return chunks, metas
}

func TestBlobRoundTrip(t *testing.T) {
	b := openBlobs(t, connect(t, devenv.TestNATS(t)))
	for _, size := range []int{1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 20*chunkBytes + 7} {
		data := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
		if !put1(t, b, data) {
			t.Errorf("%d bytes: not stored", size)
		}
		if put1(t, b, data) {
			t.Errorf("%d bytes: stored a second time", size)
		}
		got, err := get(t, b, keyOf(data))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
		}
		info, err := b.Stat(testContext(t), keyOf(data))
		if err != nil || info.Size != int64(size) || !strings.HasSuffix(keyOf(data), info.SHA256) || time.Since(info.Stored) > time.Minute {
			t.Errorf("%+v, %v", info, err)
		}
		r, _, err := b.Get(testContext(t), keyOf(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, data); err != nil {
			t.Error(err)
		}
		// A bytes.Buffer is read in place.
		whole := bytes.Repeat([]byte("edcba9876543210"), size/15+1)[:size]
		open := func() io.Reader { return bytes.NewBuffer(whole) }
		if stored, err := b.Put(testContext(t), keyOf(whole), int64(size), open); !stored || err != nil {
			t.Errorf("%d bytes in place: %v, %v", size, stored, err)
		}
		if got, err := get(t, b, keyOf(whole)); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%d bytes in place: %d came back, %v", size, len(got), err)
		}
	}
	if _, err := get(t, b, keyOf([]byte("none"))); !errors.Is(err, event.ErrBlob) {
		t.Errorf("absent: %v, want ErrBlob", err)
	}
}

func TestBlobsAreAnyClientsObjects(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	b := openBlobs(t, nc)
	store, err := b.js.ObjectStore(testContext(t), "imap-mail")
	if err != nil {
		t.Fatal(err)
	}
	status, err := store.Status(testContext(t))
	if err != nil || status.TTL() != 21*24*time.Hour {
		t.Errorf("ttl %v, %v", status.TTL(), err)
	}
	ours := bytes.Repeat([]byte("ours"), 100_000)
	put1(t, b, ours)
	if got, err := store.GetBytes(testContext(t), keyOf(ours)); err != nil || !bytes.Equal(got, ours) {
		t.Errorf("theirs reads %d bytes of ours, %v", len(got), err)
	}
	theirs := bytes.Repeat([]byte("theirs"), 100_000)
	if _, err := store.Put(testContext(t), jetstream.ObjectMeta{Name: keyOf(theirs)}, bytes.NewReader(theirs)); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, b, keyOf(theirs)); err != nil || !bytes.Equal(got, theirs) {
		t.Errorf("ours reads %d bytes of theirs, %v", len(got), err)
	}
	if put1(t, b, theirs) {
		t.Error("stored again what another client had put")
	}
	if err := store.Delete(testContext(t), keyOf(ours)); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, b, keyOf(ours)); !errors.Is(err, event.ErrBlob) {
		t.Errorf("deleted: %v, want ErrBlob", err)
	}
	if !put1(t, b, ours) {
		t.Error("a deleted blob is put again")
	}
	if got, err := get(t, b, keyOf(ours)); err != nil || !bytes.Equal(got, ours) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestBlobOfAnEarlierVersion: what an earlier version stored, message by message,
// is read and found, and not put again.
func TestBlobOfAnEarlierVersion(t *testing.T) {
	b := openBlobs(t, connect(t, devenv.TestNATS(t)))
	data, err := os.ReadFile("testdata/blob_of_0.1.json")
	if err != nil {
		t.Fatal(err)
	}
	var messages []struct {
		Subject string
		Header  nats.Header
		Data    string
	}
	if err := json.Unmarshal(data, &messages); err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if _, err := b.js.PublishMsg(testContext(t), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: []byte(m.Data)}); err != nil {
			t.Fatal(err)
		}
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 160)
	if got, err := get(t, b, keyOf(want)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if put1(t, b, want) {
		t.Error("it was put again")
	}
}

// TestBlobForAnEarlierReader reads what is put now as every version has read it:
// the last message of the metadata, then the chunks one by one.
func TestBlobForAnEarlierReader(t *testing.T) {
	b := openBlobs(t, connect(t, devenv.TestNATS(t)))
	want := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
	put1(t, b, want)
	name := base64.URLEncoding.EncodeToString([]byte(keyOf(want)))
	m, err := b.stream.GetLastMsgForSubject(testContext(t), "$O.imap-mail.M."+name)
	if err != nil {
		t.Fatal(err)
	}
	var meta struct {
		Name, Bucket, NUID, Digest string
		Size                       int
		Chunks                     int
		Deleted                    bool
	}
	if err := json.Unmarshal(m.Data, &meta); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(want)
	if meta.Name != keyOf(want) || meta.Bucket != "imap-mail" || meta.Size != len(want) || meta.Chunks != 4 || meta.Deleted ||
		meta.Digest != "SHA-256="+base64.URLEncoding.EncodeToString(sum[:]) {
		t.Errorf("metadata %s", m.Data)
	}
	var got []byte
	var seq uint64
	for range meta.Chunks {
		chunk, err := b.stream.GetMsg(testContext(t), seq+1, jetstream.WithGetMsgSubject("$O.imap-mail.C."+meta.NUID))
		if err != nil {
			t.Fatal(err)
		}
		got, seq = append(got, chunk.Data...), chunk.Sequence
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// TestChunkRefused: a chunk for which nobody was there is not sent again behind
// others. The object is, and nothing of the first is seen or left.
func TestChunkRefused(t *testing.T) {
	b := openBlobs(t, connect(t, devenv.TestNATS(t)))
	data := make([]byte, 4*chunkBytes)
	for i := range data {
		data[i] = byte(i / chunkBytes)
	}
	listen := func(subjects ...string) {
		cfg := b.stream.CachedInfo().Config
		cfg.Subjects = subjects
		if _, err := b.js.UpdateStream(testContext(t), cfg); err != nil {
			t.Error(err)
		}
	}
	tries := 0
	open := func() io.Reader {
		tries++
		first := tries == 1
		pause := func(act func()) io.Reader {
			return readFunc(func([]byte) (int, error) {
				if first {
					act()
				}
				return 0, io.EOF
			})
		}
		deaf := pause(func() {
			time.Sleep(100 * time.Millisecond) // the first chunk is stored
			listen("$O.imap-mail.M.>")
		})
		hears := pause(func() {
			time.Sleep(100 * time.Millisecond) // the second is refused
			listen("$O.imap-mail.C.>", "$O.imap-mail.M.>")
		})
		return io.MultiReader(bytes.NewReader(data[:chunkBytes]), deaf, bytes.NewReader(data[chunkBytes:2*chunkBytes]), hears, bytes.NewReader(data[2*chunkBytes:]))
	}
	if stored, err := b.Put(testContext(t), keyOf(data), int64(len(data)), open); !stored || err != nil || tries != 2 {
		t.Errorf("%v, %v, after %d tries", stored, err, tries)
	}
	if got, err := get(t, b, keyOf(data)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if chunks, metas := messages(t, b); chunks != 4 || metas != 1 {
		t.Errorf("%d chunks and %d metadata, want 4 and 1", chunks, metas)
	}
}

func TestConcurrentPuts(t *testing.T) {
	n := devenv.TestNATS(t)
	nc := connect(t, n)
	openBlobs(t, nc)
	data := bytes.Repeat([]byte("x"), 10*chunkBytes)
	var stored atomic.Int32
	var wg sync.WaitGroup
	for range 6 {
		b := openBlobs(t, connect(t, devenv.OpenNATS(nc.ConnectedUrl())))
		wg.Go(func() {
			did, err := b.Put(testContext(t), keyOf(data), int64(len(data)), reader(data))
			if err != nil {
				t.Error(err)
			}
			if did {
				stored.Add(1)
			}
			if got, err := get(t, b, keyOf(data)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("after the put: %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n := stored.Load(); n != 1 {
		t.Errorf("stored %d times", n)
	}
	if chunks, metas := messages(t, openBlobs(t, nc)); chunks != 10 || metas != 1 {
		t.Errorf("%d chunks and %d metadata, want 10 and 1", chunks, metas)
	}
}

func TestBrokenPutLeavesNothing(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	b := openBlobs(t, nc)
	data := bytes.Repeat([]byte("x"), 5*chunkBytes)
	broken := errors.New("disk on fire")
	for name, tt := range map[string]struct {
		size int64
		open func() io.Reader
	}{
		"read error": {int64(len(data)), func() io.Reader {
			return io.MultiReader(bytes.NewReader(data[:3*chunkBytes]), iotest.ErrReader(broken))
		}},
		"too short":   {int64(len(data)), reader(data[1:])},
		"too long":    {int64(len(data)), reader(append(data, 'x'))},
		"other bytes": {int64(len(data)), reader(bytes.ToUpper(data))},
		"wrong size":  {int64(len(data)) + 1, reader(data)},
	} {
		stored, err := b.Put(testContext(t), keyOf(data), tt.size, tt.open)
		if stored || !errors.Is(err, event.ErrBlob) {
			t.Errorf("%s: %v, %v, want ErrBlob", name, stored, err)
		}
		if _, err := b.Stat(testContext(t), keyOf(data)); !errors.Is(err, event.ErrBlob) {
			t.Errorf("%s: it can be seen: %v", name, err)
		}
		if chunks, metas := messages(t, b); chunks != 0 || metas != 0 {
			t.Errorf("%s: %d chunks and %d metadata are left", name, chunks, metas)
		}
	}
	// Killed before it was made visible: nothing is seen, the next put works.
	sum := sha256.Sum256(data)
	if _, err := b.upload(testContext(t), "$O.imap-mail.C.x", sum[:], put{keyOf(data), int64(len(data)), reader(data), false, false}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(testContext(t), keyOf(data)); !errors.Is(err, event.ErrBlob) {
		t.Errorf("half an object can be seen: %v", err)
	}
	put1(t, b, data)
	if got, err := get(t, b, keyOf(data)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// chunksOf is the subject of a blob's chunks.
func chunksOf(t testing.TB, b *Blobs, key string) string {
	t.Helper()
	m, err := b.stream.GetLastMsgForSubject(testContext(t), b.MetaSubject(key))
	if err != nil {
		t.Fatal(err)
	}
	var meta jetstream.ObjectInfo
	if err := json.Unmarshal(m.Data, &meta); err != nil {
		t.Fatal(err)
	}
	return "$O." + meta.Bucket + ".C." + meta.NUID
}

func TestDamagedBlob(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	b := openBlobs(t, nc)
	data := bytes.Repeat([]byte("x"), 5*chunkBytes)
	put1(t, b, data)
	chunks := chunksOf(t, b, keyOf(data))
	if err := b.stream.DeleteMsg(testContext(t), 3); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, b, keyOf(data)); !errors.Is(err, event.ErrBlob) {
		t.Errorf("a chunk is gone: %d bytes, %v, want ErrBlob", len(got), err)
	}
	if _, err := b.js.Publish(testContext(t), chunks, bytes.Repeat([]byte("y"), chunkBytes)); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, b, keyOf(data)); !errors.Is(err, event.ErrBlob) || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("a chunk is another: %v, want ErrBlob", err)
	}
	if _, err := b.js.Publish(testContext(t), chunks, []byte("z")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(testContext(t), b.MetaSubject("k/k/k"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, b, "k/k/k"); !errors.Is(err, event.ErrBlob) {
		t.Errorf("bad metadata: %v, want ErrBlob", err)
	}
	if _, err := b.Put(testContext(t), "k/k/k", 1, reader([]byte("x"))); !errors.Is(err, event.ErrBlob) {
		t.Errorf("a key without a sum: %v, want ErrBlob", err)
	}
}

// TestBlobOutlivesTheEvent: one found late in its life is put again, and is
// readable all the while.
func TestBlobOutlivesTheEvent(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	b := openBlobs(t, nc)
	if want := 6 * 24 * time.Hour; b.refreshAfter != want {
		t.Errorf("refreshed after %v, want %v", b.refreshAfter, want)
	}
	data := bytes.Repeat([]byte("x"), 3*chunkBytes)
	put1(t, b, data)
	reading, _, err := b.Get(testContext(t), keyOf(data))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 10)
	if _, err := io.ReadFull(reading, first); err != nil {
		t.Fatal(err)
	}
	before, err := b.Stat(testContext(t), keyOf(data))
	if err != nil {
		t.Fatal(err)
	}
	old := chunksOf(t, b, keyOf(data))
	b.refreshAfter = time.Nanosecond
	if !put1(t, b, data) {
		t.Error("an old blob was not put again")
	}
	after, err := b.Stat(testContext(t), keyOf(data))
	if err != nil || !after.Stored.After(before.Stored) || chunksOf(t, b, keyOf(data)) == old {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	rest, err := io.ReadAll(reading)
	if err != nil || len(rest)+10 != len(data) {
		t.Errorf("the reader of the old one got %d bytes, %v", len(rest)+10, err)
	}
	if got, err := get(t, b, keyOf(data)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	p := newPublisher(t, nc, PublisherOptions{})
	if blobs, err := p.Blobs(testContext(t)); err != nil || blobs.refreshAfter != 6*24*time.Hour {
		t.Errorf("the publisher's blobs are refreshed after %v, %v", blobs.refreshAfter, err)
	}
	for name, tt := range map[string]struct{ ttl, events, want time.Duration }{
		"for ever":         {0, 14 * 24 * time.Hour, 0},
		"shorter":          {24 * time.Hour, 14 * 24 * time.Hour, time.Hour},
		"events for ever":  {24 * time.Hour, -1, time.Hour},
		"as long as ours":  {21 * 24 * time.Hour, 0, 6 * 24 * time.Hour},
		"longer than ours": {90 * 24 * time.Hour, 14 * 24 * time.Hour, 75 * 24 * time.Hour},
	} {
		bucket := strings.ReplaceAll(name, " ", "-")
		if _, err := b.js.CreateObjectStore(testContext(t), jetstream.ObjectStoreConfig{Bucket: bucket, TTL: tt.ttl}); err != nil {
			t.Fatal(err)
		}
		other, err := OpenBlobs(testContext(t), nc, BlobOptions{Bucket: bucket, EventAge: tt.events, Create: true})
		if err != nil || other.refreshAfter != tt.want {
			t.Errorf("%s: %v, %v, want %v", name, other.refreshAfter, err, tt.want)
		}
	}
}

func TestBlobsOfASmallBroker(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t, devenv.NATSMaxPayload(64*kib)))
	b := openBlobs(t, nc)
	data := bytes.Repeat([]byte("0123456"), 100_000)
	put1(t, b, data)
	if got, err := get(t, b, keyOf(data)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestNoBucket(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	if _, err := OpenBlobs(testContext(t), nc, BlobOptions{}); !errors.Is(err, event.ErrStream) {
		t.Errorf("%v, want ErrStream", err)
	}
}

func TestBucketFull(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateObjectStore(testContext(t), jetstream.ObjectStoreConfig{Bucket: "imap-mail", MaxBytes: 3 * chunkBytes}); err != nil {
		t.Fatal(err)
	}
	b := openBlobs(t, nc)
	data := bytes.Repeat([]byte("x"), 5*chunkBytes)
	if _, err := b.Put(testContext(t), keyOf(data), int64(len(data)), reader(data)); !errors.Is(err, ErrStreamFull) {
		t.Errorf("%v, want ErrStreamFull", err)
	}
	if chunks, metas := messages(t, b); chunks != 0 || metas != 0 {
		t.Errorf("%d chunks and %d metadata are left", chunks, metas)
	}
}

// endless gives size bytes without holding them.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := int(min(e.left, int64(len(p))))
	clear(p[:n])
	e.left -= int64(n)
	return n, nil
}

// TestBlobMemoryIsFlat holds no more at the end of a blob than after a sixth.
func TestBlobMemoryIsFlat(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	b := openBlobs(t, nc)
	// The broker is in this process, so only what our side holds at once can
	// be told from it: live bytes while the put is under way.
	const sixth, size = 10 * mib, 60 * mib
	h := sha256.New()
	if _, err := io.Copy(h, &endless{size}); err != nil {
		t.Fatal(err)
	}
	key := BlobKey(testTenant, testProvider, hex.EncodeToString(h.Sum(nil)))
	var live []uint64
	probe := readFunc(func([]byte) (int, error) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		live = append(live, m.HeapAlloc)
		return 0, io.EOF
	})
	open := func() io.Reader {
		live = nil
		return io.MultiReader(&endless{sixth}, probe, &endless{size - sixth - 10}, probe, &endless{10})
	}
	if _, err := b.Put(testContext(t), key, size, open); err != nil {
		t.Fatal(err)
	}
	small, large := live[0], live[1]
	if large > small+4*mib {
		t.Errorf("live heap %d KiB after 10 MiB, %d KiB after 60 MiB", small/kib, large/kib)
	}
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestPutEndsWithItsContext(t *testing.T) {
	n := devenv.TestNATSServer(t)
	b := openBlobs(t, connect(t, n))
	data := bytes.Repeat([]byte("x"), 20*chunkBytes)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	open := func() io.Reader {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		return bytes.NewReader(data)
	}
	started := time.Now()
	if _, err := b.Put(ctx, keyOf(data), int64(len(data)), open); err == nil {
		t.Error("put on a broker that is gone")
	}
	if took := time.Since(started); took > 30*time.Second { // it does not wait forever
		t.Errorf("took %v", took)
	}
}

func BenchmarkPut(b *testing.B) {
	n, err := devenv.StartNATS(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	nc, err := Connect(b.Context(), ConnectOptions{URL: n.URL()})
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	blobs, err := OpenBlobs(b.Context(), nc, BlobOptions{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{10 * kib, 250 * kib, 10 * mib} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				copy(data, fmt.Sprint(i, b.N, time.Now()))
				if _, err := blobs.Put(b.Context(), keyOf(data), int64(size), reader(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// provePuts holds that every blob an event names is put, from bytes that are
// those its key names.
func provePuts(t testing.TB, m *Mail) {
	t.Helper()
	data := &m.Payload.EmailData
	named := 0
	for _, blob := range []*event.Blob{data.Body.TextBlob, data.Body.HTMLBlob} {
		if blob != nil {
			named++
		}
	}
	if data.RawMIME != nil {
		named++
	}
	if named += len(data.Attachments); len(m.puts) != named || m.HasBlobs() != (named > 0) {
		t.Errorf("%d blobs are put, %d are named", len(m.puts), named)
	}
	for i, p := range m.puts {
		got, err := io.ReadAll(p.open())
		if err != nil || int64(len(got)) != p.size || p.key != keyOf(got) {
			t.Errorf("blob %d: %d bytes, %v, want %d with key %s", i, len(got), err, p.size, p.key)
		}
		if i < len(data.Attachments) && (data.Attachments[i].Blob.Key != p.key || data.Attachments[i].Size != p.size) {
			t.Errorf("blob %d is not that of %+v", i, data.Attachments[i])
		}
	}
}

// TestAttachmentIsDecodedOnce holds that what New decoded is what is stored: of
// the raw mail nothing is read again.
func TestAttachmentIsDecodedOnce(t *testing.T) {
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	raw := []byte("Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nY29udGVudA==\n")
	m := parse.Parse(raw, parse.Limits{})
	ev := New(m, testDelivery(), p.Limits())
	clear(raw)
	if err := p.StoreBlobs(testContext(t), ev); err != nil || len(ev.Payload.EmailData.Attachments) != 1 {
		t.Errorf("%v, attachments %+v", err, ev.Payload.EmailData.Attachments)
	}
}

// TestBlobsOfALostEvent: a blob whose chunks the bucket has lost, and not its name, is
// put again with an event that is published again.
func TestBlobsOfALostEvent(t *testing.T) {
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	raw := []byte("Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nY29udGVudA==\n")
	ev := New(parse.Parse(raw, parse.Limits{}), testDelivery(), p.Limits())
	if err := p.StoreBlobs(testContext(t), ev); err != nil {
		t.Fatal(err)
	}
	b, err := p.Blobs(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	blob := ev.Payload.EmailData.Attachments[0].Blob
	if err := b.stream.Purge(testContext(t), jetstream.WithPurgeSubject(chunksOf(t, b, blob.Key))); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(testContext(t), blob); !errors.Is(err, event.ErrBlob) {
		t.Fatalf("%v, want that it is not whole", err)
	}
	ev.Lost = true
	if err := errors.Join(p.StoreBlobs(testContext(t), ev), b.Check(testContext(t), blob)); err != nil {
		t.Error(err)
	}
}

// TestBlobsOfAnEventCutShort: an event that lists fewer files than the mail has
// has the blobs of those it lists, each its own bytes.
func TestBlobsOfAnEventCutShort(t *testing.T) {
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	files := []string{"empty.txt", "", "a.txt", "first", "large.txt", strings.Repeat("x", 100), "b.txt", "second", "c.txt", "third"}
	m := parse.Parse([]byte(mail(testHeader, "x", files...)), parse.Limits{})
	lim := p.Limits()
	lim.AttachmentBytes, lim.AttachmentCount = 50, 2
	ev := New(m, testDelivery(), lim)
	if err := p.StoreBlobs(testContext(t), ev); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range ev.Payload.EmailData.Attachments {
		data, err := get(t, openBlobs(t, p.nc), a.Blob.Key)
		if err != nil {
			t.Error(err)
		}
		got = append(got, a.Name+" "+string(data))
	}
	if want := []string{"a.txt first", "b.txt second"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
