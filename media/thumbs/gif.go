package thumbs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// maxGIFFrames bounds the pictures of a moving one.
const maxGIFFrames = 500

// readGIF walks the blocks of a GIF without decoding one: it counts its
// pictures and what they take together.
func (in *info) readGIF(r io.Reader) error {
	b := bufio.NewReaderSize(r, 64<<10)
	var screen [13]byte
	if _, err := io.ReadFull(b, screen[:]); err != nil {
		return errors.Join(ErrFormat, err)
	}
	in.width, in.height = int(binary.LittleEndian.Uint16(screen[6:])), int(binary.LittleEndian.Uint16(screen[8:]))
	in.perPixel = 6 // a canvas, and the picture itself twice
	if err := skipColours(b, screen[10]); err != nil {
		return err
	}
	var area int64
	for count := 0; ; {
		kind, err := b.ReadByte()
		switch {
		case err != nil || kind == 0x3b:
			return finishGIF(in, count, area) // what was cut off has its first pictures
		case kind == 0x21:
			_, err = b.Discard(1)
		case kind == 0x2c:
			var place [9]byte
			if _, err = io.ReadFull(b, place[:]); err != nil {
				return finishGIF(in, count, area)
			}
			area += int64(binary.LittleEndian.Uint16(place[4:])) * int64(binary.LittleEndian.Uint16(place[6:]))
			count++
			if err = skipColours(b, place[8]); err == nil {
				_, err = b.Discard(1)
			}
		default:
			return ErrFormat
		}
		if err == nil {
			err = skipBlocks(b)
		}
		if err != nil {
			return finishGIF(in, count, area)
		}
		if count > maxGIFFrames {
			return ErrTooLarge
		}
	}
}

func finishGIF(in *info, count int, area int64) error {
	if count == 0 {
		return ErrFormat
	}
	if in.moves = count > 1; in.moves {
		in.frames, in.pictures = area, int64(count)
	}
	return nil
}

func skipColours(b *bufio.Reader, packed byte) error {
	if packed&0x80 == 0 {
		return nil
	}
	if _, err := b.Discard(3 << (1 + packed&7)); err != nil {
		return errors.Join(ErrFormat, err)
	}
	return nil
}

func skipBlocks(b *bufio.Reader) error {
	for {
		size, err := b.ReadByte()
		if err != nil || size == 0 {
			return err
		}
		if _, err := b.Discard(int(size)); err != nil {
			return err
		}
	}
}
