package thumbs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

const (
	// maxSegments bounds the parts of a header.
	maxSegments = 256
	// maxScans bounds the passes over a progressive JPEG: a few bytes of a file
	// can ask for one more pass over all of the picture.
	maxScans = 200
)

// readJPEG walks the segments of a JPEG up to the one with its size. On the way
// it finds how the camera was held.
func (in *info) readJPEG(r io.Reader) error {
	b := bufio.NewReader(io.LimitReader(r, maxHeader))
	if _, err := b.Discard(2); err != nil {
		return errors.Join(ErrFormat, err)
	}
	for range maxSegments {
		marker, err := nextMarker(b)
		if err != nil {
			return err
		}
		if marker == 0x01 || marker >= 0xd0 && marker <= 0xd7 {
			continue // they have no length
		}
		var size [2]byte
		if _, err := io.ReadFull(b, size[:]); err != nil {
			return errors.Join(ErrFormat, err)
		}
		length := int(binary.BigEndian.Uint16(size[:])) - 2
		switch {
		case length < 0 || marker == 0xda || marker == 0xd9:
			return ErrFormat
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			return in.readFrame(b, marker, length, r)
		case marker == 0xe1:
			segment := make([]byte, length)
			if _, err := io.ReadFull(b, segment); err != nil {
				return errors.Join(ErrFormat, err)
			}
			if turned := exifOrientation(segment); turned != 0 {
				in.orientation = turned
			}
		default:
			if _, err := b.Discard(length); err != nil {
				return errors.Join(ErrFormat, err)
			}
		}
	}
	return ErrFormat
}

func nextMarker(b *bufio.Reader) (byte, error) {
	c, err := b.ReadByte()
	for err == nil && c != 0xff {
		c, err = b.ReadByte()
	}
	for err == nil && c == 0xff {
		c, err = b.ReadByte()
	}
	if err != nil || c == 0 {
		return 0, errors.Join(ErrFormat, err)
	}
	return c, nil
}

// readFrame reads the size, and how much memory the samples take. The decoder
// keeps the coefficients of a progressive picture as well, four bytes each.
func (in *info) readFrame(b *bufio.Reader, marker byte, length int, r io.Reader) error {
	if marker > 0xc2 || length < 6 {
		return ErrFormat // arithmetic coding, lossless: nobody decodes it
	}
	frame := make([]byte, length)
	if _, err := io.ReadFull(b, frame); err != nil {
		return errors.Join(ErrFormat, err)
	}
	in.height, in.width = int(binary.BigEndian.Uint16(frame[1:])), int(binary.BigEndian.Uint16(frame[3:]))
	components := int(frame[5])
	if components == 0 || components > 4 || len(frame) < 6+3*components {
		return ErrFormat
	}
	sampled, most := 0, 1
	for i := range components {
		h, v := int(frame[7+3*i]>>4), int(frame[7+3*i]&0xf)
		sampled += h * v
		most = max(most, h*v)
	}
	in.perPixel = float64(sampled) / float64(most)
	if components == 4 {
		in.perPixel += 4 // it is turned into another picture
	}
	if marker != 0xc2 {
		return nil
	}
	in.perPixel *= 5
	return boundScans(b, r)
}

// boundScans refuses a progressive JPEG with more passes than cameras and
// programs make. Their marker stands nowhere in the data of a picture.
func boundScans(b *bufio.Reader, r io.Reader) error {
	rest := io.MultiReader(io.LimitReader(b, int64(b.Buffered())), r)
	buf, kept, scans := make([]byte, 64<<10), 0, 0
	for {
		n, err := rest.Read(buf[kept:])
		n += kept
		if scans += bytes.Count(buf[:n], []byte{0xff, 0xda}); scans > maxScans {
			return ErrTooLarge
		}
		if kept = 0; n > 0 && buf[n-1] == 0xff {
			buf[0], kept = 0xff, 1
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// exifOrientation returns how a camera was held, 1 to 8, or 0 where the
// segment does not say.
func exifOrientation(segment []byte) int {
	tiff, found := bytes.CutPrefix(segment, []byte("Exif\x00\x00"))
	if !found || len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	if string(tiff[:2]) == "II" {
		order = binary.LittleEndian
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 0
		}
		if order.Uint16(entries) == 0x0112 {
			if turned := int(order.Uint16(entries[8:])); turned >= 1 && turned <= 8 {
				return turned
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}
