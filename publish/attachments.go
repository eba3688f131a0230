package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"math"

	"imapsync/event"
	"imapsync/parse"
)

// attach lists the files under the caps; what is over one gets a reason.
func (data *emailData) attach(files []file) {
	for _, f := range files {
		switch {
		case f.size == 0:
			data.defect(event.DefectEmptyAttachment, f.ID+" "+f.Name)
		case f.over != "":
			data.IngressSkipReasons = append(data.IngressSkipReasons, event.SkipReason{
				Type: "attachment", Reason: f.over, AttachmentID: f.ID, AttachmentName: f.Name, Size: f.size, Cap: f.limit,
			})
		default:
			data.Attachments = append(data.Attachments, event.Attachment{
				ID: f.ID, Name: f.Name, ContentType: f.ContentType, Size: f.size, ContentID: f.ContentID,
				IsInline: f.IsInline, SHA256: hex.EncodeToString(f.sum[:]), Content: f.content,
			})
		}
	}
}

// file is an attachment with what one pass over its decoded bytes gave.
type file struct {
	parse.Attachment
	size    int64
	over    string // the reason why it is not in the event; "" when it is
	limit   int64  // the cap it is over
	sum     [sha256.Size]byte
	content []byte // nil unless it is to be in the event
}

// measure decodes each attachment once, for size, SHA-256 and inline content.
// Of those over a cap it makes no sum, unless the key of the mail takes it.
func measure(attachments []parse.Attachment, lim Limits, keyed bool) []file {
	if len(attachments) == 0 {
		return nil
	}
	files := make([]file, len(attachments))
	counted := caps{Limits: lim}
	for i, a := range attachments {
		t := tally{hash: sha256.New(), most: counted.most(), inline: lim.InlineBytes}
		if keyed {
			t.most = math.MaxInt64
		}
		_, _ = io.Copy(&t, a.Open()) // never fails, see parse.Attachment
		f := file{Attachment: a, size: t.size}
		f.over, f.limit = counted.take(t.size)
		if f.over == "" || keyed {
			t.hash.Sum(f.sum[:0])
		}
		if t.size <= lim.InlineBytes {
			f.content = t.content
		}
		files[i] = f
	}
	return files
}

// caps counts the attachments of a mail against its limits, in order.
type caps struct {
	Limits
	count int
	total int64
}

// most is the largest attachment that would be under the caps now.
func (c *caps) most() int64 {
	if c.count >= c.AttachmentCount {
		return 0
	}
	return min(c.AttachmentBytes, c.AttachmentTotalBytes-c.total)
}

// take counts an attachment, or says which cap it is over.
func (c *caps) take(size int64) (over string, limit int64) {
	switch {
	case size == 0:
	case size > c.AttachmentBytes:
		return event.SkipAttachmentBytes, c.AttachmentBytes
	case c.count >= c.AttachmentCount:
		return event.SkipAttachmentCount, int64(c.AttachmentCount)
	case c.total+size > c.AttachmentTotalBytes:
		return event.SkipAttachmentTotal, c.AttachmentTotalBytes
	default:
		c.count++
		c.total += size
	}
	return "", 0
}

// tally takes the size of what is written to it, its first bytes, and its hash
// unless it is too long for that to be asked for.
type tally struct {
	hash    hash.Hash
	most    int64 // bytes that are hashed; of more there is no hash
	inline  int64 // bytes that are kept
	size    int64
	content []byte
}

func (t *tally) Write(b []byte) (int, error) {
	if room := t.inline - t.size; room > 0 {
		t.content = append(t.content, b[:min(room, int64(len(b)))]...)
	}
	if t.size += int64(len(b)); t.size <= t.most {
		_, _ = t.hash.Write(b)
	}
	return len(b), nil
}
