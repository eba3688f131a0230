package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

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
// What no cap lets through is not hashed.
func measure(m *parse.Message, lim Limits) []file {
	files := make([]file, len(m.Attachments))
	counted := caps{Limits: lim}
	for i, a := range m.Attachments {
		most := counted.most()
		if most >= mib {
			a.Keep() // what that keeps is under the caps, and is read again to be stored
		}
		f := file{Attachment: a}
		r, h := a.Open(), sha256.New() // reading never fails, see parse.Attachment
		if lim.InlineBytes > 0 {
			f.content, _ = io.ReadAll(io.LimitReader(r, lim.InlineBytes+1))
			_, _ = h.Write(f.content)
		}
		hashed, _ := io.Copy(h, io.LimitReader(r, most))
		rest, _ := io.Copy(io.Discard, r)
		if f.size = int64(len(f.content)) + hashed + rest; f.size > lim.InlineBytes {
			f.content = nil
		}
		f.over, f.limit = counted.take(f.size)
		h.Sum(f.sum[:0])
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
