package denylist

// alphabet is that of base58btc.
const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// appendBase58 appends data in base58btc. It is done for each block that is
// served: five digits at a time, which is several times as fast as one by one.
func appendBase58(dst []byte, data string) []byte {
	const five = 58 * 58 * 58 * 58 * 58
	zeros := 0
	for zeros < len(data) && data[zeros] == 0 {
		zeros++
		dst = append(dst, alphabet[0])
	}
	rest := data[zeros:]
	var room [16]uint32
	limbs := append(room[:0], make([]uint32, (len(rest)+3)/4)...) // the highest first
	for i := range len(rest) {
		at := len(rest) - 1 - i
		limbs[len(limbs)-1-i/4] |= uint32(rest[at]) << (8 * (i % 4))
	}
	start := len(dst)
	for len(limbs) > 0 {
		var remainder uint64
		for i, limb := range limbs {
			n := remainder<<32 | uint64(limb)
			limbs[i] = uint32(n / five)
			remainder = n % five
		}
		for len(limbs) > 0 && limbs[0] == 0 {
			limbs = limbs[1:]
		}
		for i := 0; i < 5 && (remainder > 0 || len(limbs) > 0); i++ {
			dst = append(dst, alphabet[remainder%58])
			remainder /= 58
		}
	}
	for i, j := start, len(dst)-1; i < j; i, j = i+1, j-1 {
		dst[i], dst[j] = dst[j], dst[i]
	}
	return dst
}
