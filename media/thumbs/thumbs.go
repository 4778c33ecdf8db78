// Package thumbs makes smaller pictures of pictures. It reads the header first
// and decodes nothing that would take more memory than a named limit.
package thumbs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/draw"
)

// The errors of [Make]. Others are those of the reader.
var (
	// ErrFormat says that this is no picture, or none that is read here.
	ErrFormat = errors.New("thumbs: not a picture that can be read")
	// ErrTooLarge says that decoding the picture would take too much.
	ErrTooLarge = errors.New("thumbs: the picture is too large")
)

// Spec says what is wanted.
type Spec struct {
	// Width and Height are what the picture has at least, unless the one that it
	// is made of has less.
	Width, Height int
	// Crop cuts the picture to exactly this shape; otherwise it keeps its own.
	Crop bool
	// Animated asks for a picture that moves, if the one that it is made of does.
	Animated bool
}

// Picture is what came of it.
type Picture struct {
	// Bytes is nil where the picture is small enough already: then it is to be
	// served as it is, as ContentType.
	Bytes       []byte
	ContentType string
}

const (
	// MaxSide is the longest side that can be asked for.
	MaxSide = 2048
	// maxOutput bounds the pixels of a thumbnail: one that keeps the shape of a
	// very long picture would be as large as that.
	maxOutput = MaxSide * MaxSide
	// maxMoving bounds the pixels of all pictures of a moving thumbnail together.
	// One that would have more stands still.
	maxMoving = 16 << 20
	// quality of JPEG: what people do not see the difference to.
	quality = 80
)

// Make makes a smaller picture of the one in r. It stops when ctx ends.
func Make(ctx context.Context, r io.ReadSeeker, spec Spec) (p Picture, err error) {
	defer func() {
		if value := recover(); value != nil { // a decoder met what nobody has met before
			p, err = Picture{}, fmt.Errorf("%w: %v", ErrFormat, value)
		}
	}()
	if spec.Width < 1 || spec.Height < 1 || spec.Width > MaxSide || spec.Height > MaxSide {
		return Picture{}, fmt.Errorf("%dx%d is no size of a thumbnail", spec.Width, spec.Height)
	}
	r = &stoppable{ctx, r}
	in, err := inspect(r)
	if err != nil {
		return Picture{}, err
	}
	to := in.plan(spec)
	if to.original && (!in.moves || spec.Animated) {
		return Picture{ContentType: in.contentType()}, nil
	}
	if in.memory() > maxMemory {
		return Picture{}, ErrTooLarge
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Picture{}, err
	}
	if in.moves && spec.Animated && in.format == formatGIF && in.pictures*int64(to.width)*int64(to.height) <= maxMoving {
		return moving(ctx, r, in, to)
	}
	img, err := in.decode(r)
	if err != nil {
		return Picture{}, badPicture(ctx, err)
	}
	if b := img.Bounds(); b.Dx() != in.width || b.Dy() != in.height {
		return Picture{}, ErrFormat // the header said otherwise
	}
	return encode(in, orient(shrink(img, to), in.orientation))
}

// badPicture tells what is wrong with a picture from what is wrong with us.
func badPicture(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// stoppable ends when its context does: decoders know nothing of contexts.
type stoppable struct {
	ctx context.Context
	io.ReadSeeker
}

func (s *stoppable) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.ReadSeeker.Read(b)
}

// target is the size of a thumbnail in the directions of the encoded picture.
type target struct {
	original      bool
	width, height int
	from          image.Rectangle // the part of the picture that is shown
}

// plan returns what a picture becomes. It is never made larger.
//
// https://spec.matrix.org/v1.19/client-server-api/#thumbnails
func (in *info) plan(spec Spec) target {
	if in.orientation >= 5 { // it is turned by a quarter after it was made smaller
		spec.Width, spec.Height = spec.Height, spec.Width
	}
	w, h, toW, toH := int64(in.width), int64(in.height), int64(spec.Width), int64(spec.Height)
	to := target{width: in.width, height: in.height, from: image.Rect(0, 0, in.width, in.height)}
	if toW >= w || toH >= h {
		to.original = true
		return to
	}
	if spec.Crop {
		to.width, to.height = spec.Width, spec.Height
		part := image.Pt(int(h*toW/toH), in.height) // as high as the picture
		if part.X > in.width {
			part = image.Pt(in.width, int(w*toH/toW))
		}
		part = image.Pt(max(part.X, 1), max(part.Y, 1))
		at := image.Pt((in.width-part.X)/2, (in.height-part.Y)/2)
		to.from = image.Rectangle{at, at.Add(part)}
		return to
	}
	coverW, coverH := toW, (h*toW+w-1)/w
	if coverH < toH {
		coverW, coverH = (w*toH+h-1)/h, toH
	}
	if coverW*coverH > maxOutput { // inside the size that was asked for instead
		coverW, coverH = toW, max(h*toW/w, 1)
		if coverH > toH {
			coverW, coverH = max(w*toH/h, 1), toH
		}
	}
	to.width, to.height = int(coverW), int(coverH)
	return to
}

// shrink makes a picture smaller: first by a whole number, which is fast, and
// then by what is left of the ratio.
func shrink(img image.Image, to target) image.Image {
	factor := max(min(to.from.Dx()/to.width, to.from.Dy()/to.height), 1)
	small, from := img, to.from.Add(img.Bounds().Min)
	if factor > 1 {
		small = reduce(img, factor)
		from = image.Rect(to.from.Min.X/factor, to.from.Min.Y/factor, to.from.Max.X/factor, to.from.Max.Y/factor).Intersect(small.Bounds())
	}
	if from == small.Bounds() && from.Dx() == to.width && from.Dy() == to.height {
		return small
	}
	out := image.NewRGBA(image.Rect(0, 0, to.width, to.height))
	draw.BiLinear.Scale(out, out.Bounds(), small, from, draw.Src, nil)
	return out
}

// encode writes a thumbnail in the format that keeps what the picture had:
// transparency where there was some.
func encode(in *info, img image.Image) (Picture, error) {
	var out bytes.Buffer
	if in.format == formatJPEG || in.format == formatWebP && opaque(img) {
		err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality})
		return Picture{out.Bytes(), "image/jpeg"}, err
	}
	err := png.Encode(&out, img)
	return Picture{out.Bytes(), "image/png"}, err
}

func opaque(img image.Image) bool {
	o, ok := img.(interface{ Opaque() bool })
	return ok && o.Opaque()
}

// moving makes every picture of a GIF smaller.
func moving(ctx context.Context, r io.Reader, in *info, to target) (Picture, error) {
	all, err := gif.DecodeAll(r)
	if err != nil {
		return Picture{}, badPicture(ctx, err)
	}
	out := &gif.GIF{LoopCount: all.LoopCount}
	canvas := image.NewRGBA(image.Rect(0, 0, in.width, in.height))
	for i, frame := range all.Image {
		if err := ctx.Err(); err != nil {
			return Picture{}, err
		}
		var before *image.RGBA
		if all.Disposal[i] == gif.DisposalPrevious {
			before = &image.RGBA{Pix: bytes.Clone(canvas.Pix), Stride: canvas.Stride, Rect: canvas.Rect}
		}
		draw.Draw(canvas, frame.Bounds(), frame, frame.Bounds().Min, draw.Over)
		small := image.NewRGBA(image.Rect(0, 0, to.width, to.height))
		draw.ApproxBiLinear.Scale(small, small.Bounds(), canvas, to.from, draw.Src, nil)
		out.Image = append(out.Image, flatten(small, frame.Palette))
		out.Delay = append(out.Delay, all.Delay[i])
		out.Disposal = append(out.Disposal, gif.DisposalBackground)
		switch all.Disposal[i] {
		case gif.DisposalBackground:
			draw.Draw(canvas, frame.Bounds(), image.Transparent, image.Point{}, draw.Src)
		case gif.DisposalPrevious:
			canvas = before
		}
	}
	var encoded bytes.Buffer
	if err := gif.EncodeAll(&encoded, out); err != nil {
		return Picture{}, badPicture(ctx, err)
	}
	return Picture{encoded.Bytes(), "image/gif"}, nil
}

// flatten gives a picture the colours of a palette, and one for what is
// transparent. Colours that are nearly alike are looked for once.
func flatten(img *image.RGBA, colours color.Palette) *image.Paletted {
	if len(colours) > 255 {
		colours = colours[:255]
	}
	palette := append(append(color.Palette{}, color.Transparent), colours...)
	if len(colours) == 0 {
		palette = append(palette, color.Black)
	}
	out := image.NewPaletted(img.Rect, palette)
	var known [1 << 15]uint8 // by 5 bits of each colour; 0 is not yet
	for i := range out.Pix {
		p := img.Pix[4*i : 4*i+4 : 4*i+4]
		if p[3] < 0x80 {
			continue
		}
		key := int(p[0]>>3)<<10 | int(p[1]>>3)<<5 | int(p[2]>>3)
		if known[key] == 0 {
			known[key] = uint8(1 + palette[1:].Index(color.RGBA{p[0], p[1], p[2], 0xff}))
		}
		out.Pix[i] = known[key]
	}
	return out
}

// Measure returns the content type of a picture, and how wide and high it is as
// people see it.
func Measure(r io.ReadSeeker) (contentType string, width, height int, err error) {
	in, err := inspect(r)
	if err != nil {
		return "", 0, 0, err
	}
	if in.orientation >= 5 {
		in.width, in.height = in.height, in.width
	}
	return in.contentType(), in.width, in.height, nil
}
