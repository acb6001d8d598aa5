package conformance

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"hash/crc32"
	"io"
	"math/bits"
	"strings"
	"sync"
)

// A format is a compressed or media format: it says by its magic and a partial parse whether bytes start with it.
type format struct {
	name   string
	first  string // the bytes that it may begin with
	second string // those that may follow, all where it is empty
	fifth  string // likewise
	begins func(b []byte) bool

	reasons []string // of the verdict
}

// formats are asked in this order. Where a magic is shorter than four bytes, begins checks what follows it.
var formats = []format{
	{name: "gzip", first: "\x1f", second: "\x8b", begins: isGzip},
	{name: "zlib", first: "\x08\x18\x28\x38\x48\x58\x68\x78", begins: isZlib},
	{name: "zstd", first: "\x28", second: "\xb5", begins: isZstd},
	{name: "lz4", first: "\x04", second: "\x22", begins: isLZ4},
	{name: "bzip2", first: "B", second: "Z", begins: isBzip2},
	{name: "xz", first: "\xfd", second: "7", begins: isXZ},
	{name: "lzma", first: "\x5d", second: "\x00", begins: isLZMA},
	{name: "7z", first: "7", second: "z", begins: magic("7z\xbc\xaf\x27\x1c")},
	{name: "zip", first: "P", second: "K", begins: isZip},
	{name: "rar", first: "R", second: "a", begins: magic("Rar!\x1a\x07")},
	{name: "jpeg", first: "\xff", second: "\xd8", begins: isJPEG},
	{name: "png", first: "\x89", second: "P", begins: isPNG},
	{name: "gif", first: "G", second: "I", begins: magic("GIF87a", "GIF89a")},
	{name: "riff", first: "R", second: "I", begins: isRIFF},
	{name: "mp4", first: "\x00", fifth: "fsm", begins: isMP4},
	{name: "webm", first: "\x1a", second: "\x45", begins: magic("\x1a\x45\xdf\xa3")},
	{name: "ogg", first: "O", second: "g", begins: magic("OggS\x00")},
	{name: "flac", first: "f", second: "L", begins: magic("fLaC\x00\x00\x00\x22")},
	{name: "flv", first: "F", second: "L", begins: magic("FLV\x01\x01", "FLV\x01\x04", "FLV\x01\x05")},
	{name: "mp3", first: "I\xff", second: "D\xe2\xe3\xf2\xf3\xfa\xfb", begins: isMP3},
	{name: "aac", first: "\xff", second: "\xf0\xf1\xf8\xf9", begins: isADTS},
	{name: "mpegts", first: "\x47", begins: isMPEGTS},
	{name: "snappy", first: "\xff", second: "\x06", begins: magic("\xff\x06\x00\x00sNaPpY")},
	{name: "deflate", first: deflateFirst, begins: isDeflate},
	{name: "pdf", first: "%", second: "P", begins: magic("%PDF-1.", "%PDF-2.")},
}

// formatsBy are the formats that may begin with a byte.
var formatsBy = func() (by [256][]*format) {
	for i := range formats {
		f := &formats[i]
		f.reasons = []string{"compressed_" + f.name}
		for b := range by {
			if strings.IndexByte(f.first, byte(b)) >= 0 {
				by[b] = append(by[b], f)
			}
		}
	}
	return by
}()

func magic(any ...string) func([]byte) bool {
	return func(b []byte) bool {
		for _, m := range any {
			if strings.HasPrefix(string(b[:min(len(b), len(m))]), m) {
				return true
			}
		}
		return false
	}
}

// compressedFormat is the format that b starts with, or nil.
func compressedFormat(b []byte) *format {
	if len(b) < minCompressed {
		return nil
	}
	for _, f := range formatsBy[b[0]] {
		if f.begins(b) {
			return f
		}
	}
	return nil
}

// KnownFormat says whether b starts with a compressed or media format.
func KnownFormat(b []byte) bool { return compressedFormat(b) != nil }

// minCompressed is how many bytes a compressed format needs to be known, at least.
const minCompressed = 12

// maxInflated bounds how much a partial inflate puts out.
const maxInflated = 64 << 10

// An inflater is what one partial inflate needs.
type inflater struct {
	source bytes.Reader
	reader io.ReadCloser
	out    [4096]byte
}

var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.reader = flate.NewReader(&f.source)
	return f
}}

// inflate reads b as a deflate stream (RFC 1951) as far as it goes, and says how many bytes of it were used and put out, the
// Adler-32 of what was put out, and the error that ended it: nil at the end of the stream, io.ErrUnexpectedEOF at the end of b. Random
// bytes soon give a distance beyond what was put out or an unused code.
func inflate(b []byte) (used, length int, sum uint32, err error) {
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.source.Reset(b)
	if err := f.reader.(flate.Resetter).Reset(&f.source, nil); err != nil {
		return 0, 0, 0, err
	}
	hash := adler32.New()
	for length < maxInflated {
		n, err := f.reader.Read(f.out[:])
		_, _ = hash.Write(f.out[:n])
		length += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return len(b) - f.source.Len(), length, hash.Sum32(), err
		}
	}
	return len(b) - f.source.Len(), length, hash.Sum32(), nil
}

// isGzip checks the header of RFC 1952 and inflates.
func isGzip(b []byte) bool {
	if b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 || b[3]&0xe0 != 0 {
		return false
	}
	flags, at := b[3], 10
	if flags&4 != 0 {
		at += 2 + int(binary.LittleEndian.Uint16(b[10:]))
	}
	for _, named := range []byte{8, 16} {
		if flags&named != 0 {
			end := bytes.IndexByte(b[min(at, len(b)):], 0)
			if end < 0 {
				return false
			}
			at += end + 1
		}
	}
	if flags&2 != 0 {
		at += 2
	}
	if at >= len(b) {
		return true // header alone: 32 bits and more of magic
	}
	_, _, _, err := inflate(b[at:])
	return err == nil || errors.Is(err, io.ErrUnexpectedEOF)
}

// isZlib checks the header of RFC 1950, inflates, and compares the Adler-32 where the stream ends.
func isZlib(b []byte) bool {
	if b[0]&0x0f != 8 || b[0]>>4 > 7 || binary.BigEndian.Uint16(b)%31 != 0 || b[1]&0x20 != 0 {
		return false
	}
	used, length, sum, err := inflate(b[2:])
	if err == nil && len(b) >= used+6 {
		return sum == binary.BigEndian.Uint32(b[2+used:])
	}
	return length > 0 && used >= 40 && (err == nil || errors.Is(err, io.ErrUnexpectedEOF))
}

// isZstd checks the frame header of RFC 8878 and walks the blocks.
func isZstd(b []byte) bool {
	if binary.LittleEndian.Uint32(b) != 0xfd2fb528 || b[4]&0x08 != 0 {
		return false
	}
	at := 5 + []int{0, 1, 2, 4}[b[4]&3]
	if b[4]&0x20 == 0 {
		at++
	}
	at += []int{int(b[4] >> 5 & 1), 2, 4, 8}[b[4]>>6]
	for at+3 <= len(b) {
		head := int(b[at]) | int(b[at+1])<<8 | int(b[at+2])<<16
		kind, size := head>>1&3, head>>3
		if kind == 3 || kind != 1 && size > 128<<10 {
			return false
		}
		if kind == 1 {
			size = 1
		}
		at += 3 + size
		if head&1 != 0 {
			break
		}
	}
	return true
}

// isLZ4 checks the frame descriptor of the LZ4 frame format 1.6.
func isLZ4(b []byte) bool {
	return binary.LittleEndian.Uint32(b) == 0x184d2204 && b[4]>>6 == 1 && b[4]&2 == 0 && b[5]&0x8f == 0 && b[5]>>4 >= 4
}

// isBzip2 checks the magic of the stream and of its first block (pi), and decodes where there is a whole block.
func isBzip2(b []byte) bool {
	if !strings.HasPrefix(string(b[:3]), "BZh") || b[3] < '1' || b[3] > '9' || string(b[4:10]) != "\x31\x41\x59\x26\x53\x59" {
		return false
	}
	_, err := bzip2.NewReader(bytes.NewReader(b)).Read(make([]byte, 1))
	return err == nil || errors.Is(err, io.ErrUnexpectedEOF)
}

// isXZ checks the stream header's own CRC-32.
func isXZ(b []byte) bool {
	return string(b[:6]) == "\xfd7zXZ\x00" && crc32.ChecksumIEEE(b[6:8]) == binary.LittleEndian.Uint32(b[8:])
}

// isLZMA checks the 13 bytes of header of an .lzma file (LZMA SDK, lzma-specification.txt) as every encoder writes it unless told
// otherwise: lc=3, lp=0, pb=2, a dictionary of 2^n or 2^n+2^(n-1) bytes, a size below 2^40 or unknown; then the range coder's zero.
func isLZMA(b []byte) bool {
	const least = 4096 // bytes of dictionary
	if b[0] != 0x5d || len(b) < 14 || b[13] != 0 {
		return false
	}
	dictionary, size := binary.LittleEndian.Uint32(b[1:]), binary.LittleEndian.Uint64(b[5:])
	if dictionary < least || size >= 1<<40 && size != 1<<64-1 {
		return false
	}
	top := uint32(1) << (bits.Len32(dictionary) - 1)
	return dictionary == top || dictionary == top|top>>1
}

// isZip checks the local file header (APPNOTE 4.3.7).
func isZip(b []byte) bool {
	return string(b[:4]) == "PK\x03\x04" && binary.LittleEndian.Uint16(b[4:]) <= 63
}

// isJPEG walks the marker segments up to the scan.
func isJPEG(b []byte) bool {
	if b[0] != 0xff || b[1] != 0xd8 {
		return false
	}
	at, segments := 2, 0
	for at+4 <= len(b) && b[at] == 0xff && b[at+1] >= 0xc0 && b[at+1] != 0xff {
		size := int(binary.BigEndian.Uint16(b[at+2:]))
		if size < 2 {
			return false
		}
		segments++
		if b[at+1] == 0xda {
			return true
		}
		at += 2 + size
	}
	return segments > 0 && at+4 > len(b)
}

// isPNG checks the signature and the first chunk.
func isPNG(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")) && (len(b) < 16 || string(b[12:16]) == "IHDR" || string(b[12:16]) == "CgBI")
}

func isRIFF(b []byte) bool {
	kind := string(b[8:12])
	return string(b[:4]) == "RIFF" && (kind == "WAVE" || kind == "AVI " || kind == "WEBP")
}

// isMP4 wants a plausible first box (ISO 14496-12), below 16 MiB.
func isMP4(b []byte) bool {
	size := binary.BigEndian.Uint32(b)
	switch string(b[4:8]) {
	case "ftyp", "styp", "moof", "moov", "sidx", "mdat":
		return size >= 8 || size == 1
	}
	return false
}

// isMP3 wants an ID3v2 tag, or two frame headers as far apart as the first says (ISO 11172-3).
func isMP3(b []byte) bool {
	if string(b[:3]) == "ID3" {
		return b[3] >= 2 && b[3] <= 4 && (b[6]|b[7]|b[8]|b[9])&0x80 == 0
	}
	size := mp3Frame(b)
	return size > 0 && size+4 <= len(b) && mp3Frame(b[size:]) > 0 && b[1] == b[size+1]
}

// mp3Frame is the size of the layer III frame that b starts with, or 0.
func mp3Frame(b []byte) int {
	if b[0] != 0xff || b[1]&0xe6 != 0xe2 || b[1]>>3&3 == 1 {
		return 0
	}
	rates := [2][16]int{
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0},
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0},
	}
	version := b[1] >> 3 & 3 // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
	sampling := []int{44100, 48000, 32000, 0}[b[2]>>2&3]
	rate, slots := rates[0][b[2]>>4], 72000
	switch version {
	case 3:
		rate, slots = rates[1][b[2]>>4], 144000
	case 2:
		sampling /= 2
	default:
		sampling /= 4
	}
	if rate == 0 || sampling == 0 {
		return 0
	}
	return slots*rate/sampling + int(b[2]>>1&1)
}

// isADTS wants two AAC frames in a row (ISO 13818-7).
func isADTS(b []byte) bool {
	size := adtsFrame(b)
	return size > 7 && size+7 <= len(b) && adtsFrame(b[size:]) > 7 && b[1] == b[size+1] && b[2] == b[size+2]
}

func adtsFrame(b []byte) int {
	if b[0] != 0xff || b[1]&0xf6 != 0xf0 || b[2]>>2&15 > 12 {
		return 0
	}
	return int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5
}

// isMPEGTS wants the sync byte at the start of at least two packets of 188 bytes (ISO 13818-1).
func isMPEGTS(b []byte) bool {
	packets := 0
	for at := 0; at < len(b); at += 188 {
		if b[at] != 0x47 {
			return false
		}
		packets++
	}
	return packets >= 3
}
