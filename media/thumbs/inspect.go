package thumbs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/webp"
)

// The formats that are read.
const (
	formatJPEG = "jpeg"
	formatPNG  = "png"
	formatGIF  = "gif"
	formatWebP = "webp"
)

const (
	// maxMemory bounds what decoding one picture takes: that of a photo of 33
	// megapixels, or a drawing of 12.
	maxMemory = 48 << 20
	// maxPictureSide is the longest side of a picture of any format but PNG.
	maxPictureSide = 1<<16 - 1
	// maxHeader bounds what is read to find the size of a picture: photos have
	// colour profiles and previews before it.
	maxHeader = 4 << 20
)

// info is what the header of a picture says.
type info struct {
	format        string
	width, height int
	orientation   int     // of EXIF, 1 to 8
	perPixel      float64 // bytes that decoding takes for each
	frames        int64   // bytes that all pictures of a moving one take
	pictures      int64   // how many a moving one has
	moves         bool
}

func (in *info) contentType() string { return "image/" + in.format }

// memory returns how many bytes decoding takes.
func (in *info) memory() int64 {
	return int64(float64(in.width)*float64(in.height)*in.perPixel) + in.frames
}

// inspect reads the header of a picture.
func inspect(r io.ReadSeeker) (*info, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var magic [32]byte
	n, err := io.ReadFull(r, magic[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	in := &info{orientation: 1}
	switch head := magic[:n]; {
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		in.format, err = formatJPEG, in.readJPEG(r)
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")) && n > 28:
		in.format, err = formatPNG, in.readPNG(r, head[28] != 0)
	case bytes.HasPrefix(head, []byte("GIF8")):
		in.format, err = formatGIF, in.readGIF(r)
	case n >= 16 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP":
		in.format, err = formatWebP, in.readWebP(r, head)
	default:
		return nil, ErrFormat
	}
	if err != nil {
		return nil, err
	}
	if in.width < 1 || in.height < 1 {
		return nil, ErrFormat
	}
	if in.width > maxPictureSide || in.height > maxPictureSide {
		return nil, ErrTooLarge
	}
	return in, nil
}

func (in *info) configured(c image.Config, err error) error {
	if err != nil {
		return errors.Join(ErrFormat, err)
	}
	in.width, in.height = c.Width, c.Height
	return nil
}

func (in *info) readPNG(r io.Reader, interlaced bool) error {
	c, err := png.DecodeConfig(io.LimitReader(r, maxHeader))
	switch c.ColorModel {
	case color.GrayModel:
		in.perPixel = 1
	case color.Gray16Model:
		in.perPixel = 2
	case color.RGBA64Model, color.NRGBA64Model:
		in.perPixel = 8
	default:
		in.perPixel = 4
		if _, paletted := c.ColorModel.(color.Palette); paletted {
			in.perPixel = 1
		}
	}
	if interlaced {
		in.perPixel *= 2
	}
	return in.configured(c, err)
}

// readWebP reads the three kinds of headers. The moving kind is read picture by
// picture, of which the first is taken.
func (in *info) readWebP(r io.Reader, head []byte) error {
	in.perPixel = 8
	if string(head[12:16]) == "VP8X" && len(head) >= 30 {
		in.moves = head[20]&0x02 != 0
		in.width = 1 + int(uint32(head[24])|uint32(head[25])<<8|uint32(head[26])<<16)
		in.height = 1 + int(uint32(head[27])|uint32(head[28])<<8|uint32(head[29])<<16)
		return nil
	}
	return in.configured(webp.DecodeConfig(io.LimitReader(r, maxHeader)))
}

// decode decodes the picture, or the first of a moving one.
func (in *info) decode(r io.Reader) (image.Image, error) {
	switch in.format {
	case formatJPEG:
		return jpeg.Decode(r)
	case formatPNG:
		return png.Decode(r)
	case formatGIF:
		return in.firstGIF(r)
	}
	if in.moves {
		var err error
		if r, err = in.firstWebP(r); err != nil {
			return nil, err
		}
	}
	return webp.Decode(r)
}

// firstGIF decodes the first picture of a GIF, which may be a part of the whole.
func (in *info) firstGIF(r io.Reader) (image.Image, error) {
	img, err := gif.Decode(r)
	if err != nil || img.Bounds() == image.Rect(0, 0, in.width, in.height) {
		return img, err
	}
	part, ok := img.(*image.Paletted)
	if !ok {
		return nil, ErrFormat
	}
	palette := part.Palette
	if len(palette) > 255 {
		palette = palette[:255]
	}
	whole := image.NewPaletted(image.Rect(0, 0, in.width, in.height), append(color.Palette{color.Transparent}, palette...))
	for y := part.Rect.Min.Y; y < part.Rect.Max.Y; y++ {
		for x := part.Rect.Min.X; x < part.Rect.Max.X; x++ {
			if i := part.ColorIndexAt(x, y); int(i) < len(palette) {
				whole.SetColorIndex(x, y, i+1)
			}
		}
	}
	return whole, nil
}

// maxFrame bounds the encoded first picture of a moving WebP, which is copied.
const maxFrame = 8 << 20

// firstWebP returns the first picture of a moving WebP as a file of its own.
//
// The chunks of a picture are inside ANMF, after sixteen bytes about its place.
func (in *info) firstWebP(r io.Reader) (io.Reader, error) {
	if _, err := io.CopyN(io.Discard, r, 12); err != nil {
		return nil, err
	}
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, err
		}
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		if string(head[:4]) != "ANMF" {
			if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil {
				return nil, err
			}
			continue
		}
		if size < 24 || size > maxFrame {
			return nil, ErrTooLarge
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(r, frame); err != nil {
			return nil, err
		}
		return in.wrapWebP(frame[:16], frame[16:])
	}
}

func (in *info) wrapWebP(place, chunks []byte) (io.Reader, error) {
	width := 1 + int(uint32(place[6])|uint32(place[7])<<8|uint32(place[8])<<16)
	height := 1 + int(uint32(place[9])|uint32(place[10])<<8|uint32(place[11])<<16)
	if width > in.width || height > in.height { // only that of the whole was held against the limits
		return nil, ErrFormat
	}
	in.width, in.height = width, height
	var out bytes.Buffer
	riff := func(id string, size int) {
		out.WriteString(id)
		_ = binary.Write(&out, binary.LittleEndian, uint32(size)) // a buffer takes everything
	}
	// With an extended header the decoder holds the size that the bits of the
	// picture claim against that of its place.
	var flags byte
	if string(chunks[:4]) == "ALPH" {
		flags = 0x10
	}
	riff("RIFF", 4+18+len(chunks))
	out.WriteString("WEBP")
	riff("VP8X", 10)
	out.Write([]byte{flags, 0, 0, 0})
	out.Write(place[6:12])
	out.Write(chunks)
	return &out, nil
}
