package event

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

	"imapsync/parse"
)

// attach lists the files under the caps; what is over one gets a reason.
func (data *EmailData) attach(files []file, lim Limits) {
	var total int64
	for _, f := range files {
		skip := func(reason string, limit int64) {
			data.IngressSkipReasons = append(data.IngressSkipReasons, SkipReason{
				Type: "attachment", Reason: reason, AttachmentID: f.ID, AttachmentName: f.Name, Size: f.size, Cap: limit,
			})
		}
		switch {
		case f.size == 0:
			data.defect(DefectEmptyAttachment, f.ID+" "+f.Name)
		case f.size > lim.AttachmentBytes:
			skip(SkipAttachmentBytes, lim.AttachmentBytes)
		case len(data.Attachments) >= lim.AttachmentCount:
			skip(SkipAttachmentCount, int64(lim.AttachmentCount))
		case total+f.size > lim.AttachmentTotalBytes:
			skip(SkipAttachmentTotal, lim.AttachmentTotalBytes)
		default:
			total += f.size
			data.Attachments = append(data.Attachments, Attachment{
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
	sum     [sha256.Size]byte
	content []byte // nil unless it is to be in the event
}

// measure decodes each attachment once, for size, SHA-256 and inline content.
func measure(attachments []parse.Attachment, lim Limits) []file {
	if len(attachments) == 0 {
		return nil
	}
	files := make([]file, len(attachments))
	buf := make([]byte, 32*kib)
	for i, a := range attachments {
		h := sha256.New()
		small := prefix{limit: lim.InlineBytes}
		n, _ := io.CopyBuffer(io.MultiWriter(h, &small), onlyReader{a.Open()}, buf) // never fails, see parse.Attachment
		files[i] = file{Attachment: a, size: n}
		h.Sum(files[i].sum[:0])
		if n > 0 && n <= lim.InlineBytes {
			files[i].content = small.data
		}
	}
	return files
}

// onlyReader hides WriteTo, which would not use the buffer.
type onlyReader struct{ io.Reader }

// prefix keeps what is written to it, up to limit bytes.
type prefix struct {
	limit int64
	data  []byte
}

func (p *prefix) Write(b []byte) (int, error) {
	if room := p.limit - int64(len(p.data)); room > 0 {
		p.data = append(p.data, b[:min(room, int64(len(b)))]...)
	}
	return len(b), nil
}
