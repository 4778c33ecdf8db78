package thumbs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"runtime"
	"testing"

	"beffroi/media/thumbs"
)

// picture has a red, a green, a blue and a white quarter.
func picture(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{A: 255}
			switch {
			case x < w/2 && y < h/2:
				c.R = 255
			case y < h/2:
				c.G = 255
			case x < w/2:
				c.B = 255
			default:
				c.R, c.G, c.B = 255, 255, 255
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// asJPEG writes a picture, with an EXIF orientation unless that is 0.
func asJPEG(t testing.TB, img image.Image, orientation byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		t.Fatal(err)
	}
	if orientation == 0 {
		return out.Bytes()
	}
	exif := append([]byte("Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00"), orientation, 0, 0, 0, 0, 0, 0, 0)
	head := append([]byte{0xff, 0xd8, 0xff, 0xe1, 0, byte(len(exif) + 2)}, exif...)
	return append(head, out.Bytes()[2:]...)
}

func asGIF(t testing.TB, frames, w, h int) []byte {
	t.Helper()
	g := &gif.GIF{}
	palette := color.Palette{color.Transparent, color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}}
	for i := range frames {
		img := image.NewPaletted(image.Rect(0, 0, w, h), palette)
		for p := range img.Pix {
			img.Pix[p] = uint8(1 + i%2)
		}
		g.Image, g.Delay = append(g.Image, img), append(g.Delay, 10)
	}
	var out bytes.Buffer
	if err := gif.EncodeAll(&out, g); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		w, h     int
		spec     thumbs.Spec
		wantW    int // 0: as it is
		wantH    int
		wantType string
	}{
		"scale":                {1000, 750, thumbs.Spec{Width: 320, Height: 240}, 320, 240, "image/png"},
		"scale wide":           {1000, 500, thumbs.Spec{Width: 320, Height: 240}, 480, 240, "image/png"},
		"scale high":           {500, 1000, thumbs.Spec{Width: 320, Height: 240}, 320, 640, "image/png"},
		"scale, odd":           {1001, 333, thumbs.Spec{Width: 100, Height: 100}, 301, 100, "image/png"},
		"crop":                 {1000, 500, thumbs.Spec{Width: 96, Height: 96, Crop: true}, 96, 96, "image/png"},
		"crop high":            {500, 1000, thumbs.Spec{Width: 96, Height: 32, Crop: true}, 96, 32, "image/png"},
		"never larger":         {100, 100, thumbs.Spec{Width: 320, Height: 240}, 0, 0, "image/png"},
		"never larger, narrow": {100, 1000, thumbs.Spec{Width: 320, Height: 240}, 0, 0, "image/png"},
		"same":                 {320, 240, thumbs.Spec{Width: 320, Height: 240}, 0, 0, "image/png"},
		"one pixel less":       {321, 241, thumbs.Spec{Width: 320, Height: 240}, 320, 241, "image/png"},
		"a strip":              {20000, 40, thumbs.Spec{Width: 32, Height: 32}, 16000, 32, "image/png"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := thumbs.Make(t.Context(), bytes.NewReader(asPNG(t, picture(tc.w, tc.h))), tc.spec)
			if err != nil || p.ContentType != tc.wantType {
				t.Fatal(p.ContentType, err)
			}
			if tc.wantW == 0 {
				if p.Bytes != nil {
					t.Fatal("made anew")
				}
				return
			}
			c, _, err := image.DecodeConfig(bytes.NewReader(p.Bytes))
			if err != nil || c.Width != tc.wantW || c.Height != tc.wantH {
				t.Errorf("%dx%d, want %dx%d: %v", c.Width, c.Height, tc.wantW, tc.wantH, err)
			}
		})
	}
}

func TestOrientation(t *testing.T) {
	t.Parallel()
	const r, g, b, w = 0, 1, 2, 3 // what lies in the quarters from the upper left
	for orientation, want := range map[byte][4]int{
		0: {r, g, b, w}, 1: {r, g, b, w}, 2: {g, r, w, b}, 3: {w, b, g, r}, 4: {b, w, r, g},
		5: {r, b, g, w}, 6: {b, r, w, g}, 7: {w, g, b, r}, 8: {g, w, r, b}, 9: {r, g, b, w},
	} {
		p, err := thumbs.Make(t.Context(), bytes.NewReader(asJPEG(t, picture(400, 200), orientation)), thumbs.Spec{Width: 60, Height: 60})
		if err != nil || p.ContentType != "image/jpeg" {
			t.Fatal(orientation, p.ContentType, err)
		}
		img, err := jpeg.Decode(bytes.NewReader(p.Bytes))
		if err != nil {
			t.Fatal(err)
		}
		size := img.Bounds().Size()
		if turned := orientation >= 5 && orientation <= 8; turned != (size.Y > size.X) {
			t.Errorf("orientation %d: %v", orientation, size)
		}
		got := [4]int{at(img, 1, 1), at(img, 3, 1), at(img, 1, 3), at(img, 3, 3)}
		if got != want {
			t.Errorf("orientation %d: %v, want %v", orientation, got, want)
		}
	}
}

// at names the colour in the middle of a quarter.
func at(img image.Image, x, y int) int {
	size := img.Bounds().Size()
	r, g, b, _ := img.At(size.X*x/4, size.Y*y/4).RGBA()
	switch high := [3]bool{r > 0x8000, g > 0x8000, b > 0x8000}; high {
	case [3]bool{true, false, false}:
		return 0
	case [3]bool{false, true, false}:
		return 1
	case [3]bool{false, false, true}:
		return 2
	}
	return 3
}

func TestMovingPictures(t *testing.T) {
	t.Parallel()
	moves := asGIF(t, 4, 200, 100)
	p, err := thumbs.Make(t.Context(), bytes.NewReader(moves), thumbs.Spec{Width: 50, Height: 50, Animated: true})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gif.DecodeAll(bytes.NewReader(p.Bytes))
	if err != nil || len(g.Image) != 4 || g.Config.Width != 100 || g.Config.Height != 50 {
		t.Fatalf("%v, %d pictures of %dx%d", err, len(g.Image), g.Config.Width, g.Config.Height)
	}
	for i, frame := range g.Image {
		if r, _, b, a := frame.At(20, 20).RGBA(); a == 0 || (r > b) != (i%2 == 0) {
			t.Errorf("picture %d: %v", i, frame.At(20, 20))
		}
	}
	for name, spec := range map[string]thumbs.Spec{"smaller": {Width: 50, Height: 50}, "as large": {Width: 200, Height: 100}} {
		if p, err = thumbs.Make(t.Context(), bytes.NewReader(moves), spec); err != nil || p.ContentType != "image/png" || p.Bytes == nil {
			t.Errorf("standing still, %s: %s %v", name, p.ContentType, err)
		}
	}
	if p, err = thumbs.Make(t.Context(), bytes.NewReader(moves), thumbs.Spec{Width: 200, Height: 100, Animated: true}); err != nil || p.Bytes != nil {
		t.Errorf("as it is: %v", err)
	}
}

// header is a PNG that says it has a size, and has nothing of it.
func header(w, h uint32, kind byte) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	ihdr = append(binary.BigEndian.AppendUint32(ihdr, h), 8, kind, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), ihdr...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(ihdr))
}

func TestBadPictures(t *testing.T) {
	t.Parallel()
	whole := asPNG(t, picture(300, 300))
	photo := asJPEG(t, picture(300, 300), 0)
	huge := bytes.Clone(photo)
	at := bytes.Index(huge, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(huge[at+5:], 65000)
	binary.BigEndian.PutUint16(huge[at+7:], 65000)
	for name, tc := range map[string]struct {
		bytes []byte
		want  error
	}{
		"nothing":                    {nil, thumbs.ErrFormat},
		"text":                       {[]byte("<html><script>alert(1)</script></html>"), thumbs.ErrFormat},
		"SVG":                        {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), thumbs.ErrFormat},
		"50,000 x 50,000":            {header(50000, 50000, 6), thumbs.ErrTooLarge},
		"2^31 x 2^31":                {header(1<<31-1, 1<<31-1, 0), thumbs.ErrFormat},
		"no width":                   {header(0, 100, 2), thumbs.ErrFormat},
		"header alone":               {header(1000, 1000, 2), thumbs.ErrFormat},
		"cut off":                    {whole[:len(whole)/2], thumbs.ErrFormat},
		"JPEG cut off in header":     {photo[:20], thumbs.ErrFormat},
		"JPEG that lies":             {huge, thumbs.ErrTooLarge},
		"GIF header":                 {[]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), thumbs.ErrFormat},
		"WebP header":                {[]byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff"), thumbs.ErrTooLarge},
		"WebP with a larger place":   {movingWebP(9000, 9000, "ALPH", "\x00"), thumbs.ErrFormat},
		"WebP with a larger picture": {movingWebP(100, 100, "VP8L", "\x2f\xff\xdf\xff\x17\x07\x10\x11\x11\x88\x88\xfe\x07\x00"), thumbs.ErrFormat},
		"too many pictures":          {asGIF(t, 501, 1, 1), thumbs.ErrTooLarge},
		"passes without end":         {append(progressive(3000, 3000), bytes.Repeat([]byte{0xff, 0xda}, 300)...), thumbs.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, err := thumbs.Make(t.Context(), bytes.NewReader(tc.bytes), thumbs.Spec{Width: 32, Height: 32, Animated: true})
			runtime.ReadMemStats(&after)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v %v, want %v", p.ContentType, err, tc.want)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
				t.Errorf("took %d bytes", took)
			}
		})
	}
}

// movingWebP is a moving picture of 100 pixels a side, whose first one claims a
// place of another size.
func movingWebP(w, h uint32, id, content string) []byte {
	size := func(v uint32) []byte { return []byte{byte(v - 1), byte((v - 1) >> 8), byte((v - 1) >> 16)} }
	chunk := func(id string, content []byte) []byte {
		out := append(binary.LittleEndian.AppendUint32([]byte(id), uint32(len(content))), content...)
		return append(out, make([]byte, len(content)%2)...)
	}
	frame := append(make([]byte, 6), append(size(w), size(h)...)...)
	frame = append(append(frame, 0, 0, 0, 0), chunk(id, []byte(content))...)
	out := []byte("WEBP")
	out = append(out, chunk("VP8X", append([]byte{2, 0, 0, 0}, append(size(100), size(100)...)...))...)
	return chunk("RIFF", append(out, chunk("ANMF", frame)...))
}

// progressive is the header of a progressive JPEG.
func progressive(w, h uint16) []byte {
	out := []byte{0xff, 0xd8, 0xff, 0xc2, 0, 17, 8}
	out = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(out, h), w)
	return append(out, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0)
}

func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := thumbs.Make(ctx, bytes.NewReader(asPNG(t, picture(300, 300))), thumbs.Spec{Width: 32, Height: 32}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// photo is what a camera makes: no two pixels are alike.
func photo(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	random := rand.New(rand.NewPCG(1, 2))
	for y := range h {
		for x := range w {
			img.Y[y*img.YStride+x] = uint8(x/32+y/16) + uint8(random.IntN(8))
		}
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = uint8(i/512), uint8(i/1024)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 85}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func BenchmarkTwelveMegapixels(b *testing.B) {
	file := photo(b, 4000, 3000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := thumbs.Make(b.Context(), bytes.NewReader(file), thumbs.Spec{Width: 800, Height: 600}); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzMake(f *testing.F) {
	for _, seed := range [][]byte{
		asPNG(f, picture(40, 40)), asJPEG(f, picture(40, 40), 6), asGIF(f, 3, 40, 40), header(50000, 50000, 6), progressive(100, 100),
		[]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"),
	} {
		f.Add(seed, true, false)
		f.Add(seed, false, true)
	}
	f.Fuzz(func(t *testing.T, file []byte, crop, animated bool) {
		p, err := thumbs.Make(t.Context(), bytes.NewReader(file), thumbs.Spec{Width: 16, Height: 12, Crop: crop, Animated: animated})
		if err == nil && p.Bytes != nil {
			if _, _, err := image.Decode(bytes.NewReader(p.Bytes)); err != nil {
				t.Error("what was made cannot be read:", err)
			}
		}
	})
}
