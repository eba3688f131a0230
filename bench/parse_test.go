package bench

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/DusanKasan/parsemail"
	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
	"github.com/jhillyerd/enmime/v2"

	"imapsync/parse"
)

// mails reads the mails of the corpus: IMAPSYNC_CORPUS, or beside the project,
// or else parse's own few.
func mails(b *testing.B) (raws [][]byte) {
	dir := os.Getenv("IMAPSYNC_CORPUS")
	if dir == "" {
		dir = "../../shared/corpus"
		if _, err := os.Stat(dir); err != nil {
			dir = "../parse/testdata"
		}
	}
	b.Logf("mails of %s", dir)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".eml") {
			return err
		}
		raw, err := os.ReadFile(path)
		raws = append(raws, raw)
		return err
	})
	if err != nil || len(raws) == 0 {
		b.Fatalf("no mails under %s (set IMAPSYNC_CORPUS): %v", dir, err)
	}
	return raws
}

// parsers are measured side by side in one run: compare them as ratios.
var parsers = []struct {
	name  string
	parse func(raw []byte) error
}{
	{"imapsync", func(raw []byte) error {
		parse.Parse(raw, parse.Limits{SkipHTMLText: true, SkipReply: true})
		return nil
	}},
	{"imapsync+reply+html2text", func(raw []byte) error {
		parse.Parse(raw, parse.Limits{})
		return nil
	}},
	{"go-message", func(raw []byte) error {
		e, err := message.Read(bytes.NewReader(raw))
		if err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
			return err
		}
		return e.Walk(func(_ []int, e *message.Entity, err error) error {
			if err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
				return err
			}
			if t, _, _ := e.Header.ContentType(); strings.HasPrefix(t, "multipart/") {
				return nil
			}
			_, err = io.Copy(io.Discard, e.Body)
			return err
		})
	}},
	{"enmime", func(raw []byte) error {
		_, err := enmime.ReadEnvelope(bytes.NewReader(raw))
		return err
	}},
	{"parsemail", func(raw []byte) error {
		_, err := parsemail.Parse(bytes.NewReader(raw))
		return err
	}},
}

// BenchmarkCorpus parses every mail of the corpus, text included, files not
// read. One operation is one mail.
func BenchmarkCorpus(b *testing.B) {
	raws := mails(b)
	bytes := 0
	for _, raw := range raws {
		bytes += len(raw)
	}
	for _, p := range parsers {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(bytes / len(raws)))
			n, failed := 0, 0
			for b.Loop() {
				if p.parse(raws[n%len(raws)]) != nil {
					failed++
				}
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(100*float64(failed)/float64(n), "%failed")
		})
	}
}
