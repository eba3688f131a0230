package parse

import (
	"strings"
)

// extensions names a file whose mail does not; only what mail really carries.
var extensions = map[string]string{
	"application/pdf": "pdf", "application/zip": "zip", "application/json": "json", "application/xml": "xml",
	"application/msword": "doc", "application/rtf": "rtf", "application/ics": "ics",
	"application/vnd.ms-excel": "xls", "application/vnd.ms-powerpoint": "ppt", "application/ms-tnef": "dat",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   "docx",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         "xlsx",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
	"application/pgp-signature": "asc", "application/pgp-encrypted": "asc", "application/pgp-keys": "asc",
	"application/pkcs7-signature": "p7s", "application/x-pkcs7-signature": "p7s",
	"application/pkcs7-mime": "p7m", "application/x-pkcs7-mime": "p7m",
	"audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/amr": "amr", "audio/ogg": "ogg",
	"image/jpeg": "jpg", "image/jpg": "jpg", "image/png": "png", "image/gif": "gif", "image/bmp": "bmp",
	"image/tiff": "tif", "image/webp": "webp", "image/svg+xml": "svg", "image/heic": "heic",
	"message/rfc822": "eml", "message/global": "eml", "message/delivery-status": "txt",
	"message/disposition-notification": "txt", "message/feedback-report": "txt",
	"text/plain": "txt", "text/html": "html", "text/csv": "csv", "text/calendar": "ics", "text/xml": "xml",
	"text/rfc822-headers": "txt", "text/vcard": "vcf", "text/x-vcard": "vcf", "text/directory": "vcf",
	"text/rtf": "rtf", "text/markdown": "md", "text/css": "css", "text/amp": "html", "text/x-amp-html": "html",
	"text/enriched": "txt", "text/richtext": "txt", "video/mp4": "mp4", "video/quicktime": "mov",
}

// fileName is the name the sender gave a file, made safe to show and to store
// under; else one made from the attached mail's subject or from the type.
func (p *part) fileName() string {
	for _, name := range []string{p.disp.param("filename"), p.typ.param("name")} {
		if name = safeName(name); name != "" {
			return name
		}
	}
	if p.isMessage() {
		head, _ := splitHeader(p.start(64<<10), 64<<10, nil, &defects{})
		if name := safeName(decodeWords(head.get("subject"), "")); name != "" {
			return shorten(name, 120) + ".eml"
		}
	}
	ext := extensions[p.typ.String()]
	if ext == "" {
		ext = "bin"
	}
	return "part-" + p.id() + "." + ext
}

// safeName strips what could leave a directory or hide a name's end.
func safeName(name string) string {
	if name == "" {
		return ""
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '/' || r == '\\':
			return '_'
		case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f: // directions
			return -1
		}
		return r
	}, cleanString(name))
	name = strings.TrimSpace(name)
	if strings.HasPrefix(name, "..") {
		name = strings.TrimLeft(name, "._ ")
	}
	if strings.Trim(name, "._ ") == "" {
		return ""
	}
	return shorten(name, 255)
}
