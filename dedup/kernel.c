/* The inner loop of the screen: which rows may lie near a query. For x86-64, by GCC or Clang. The proof: sketches.py.

   A sketch is a row of signed bytes in [-127, 127]: a head of 16 or 32 of them, and a tail. Heads of ROWS rows make a
   tile, ordered [head / 4][ROWS][4], so that one register holds four dims of all of its rows; tails lie row by row. A row is
   found for a query when
       head . head >= query_floor + row_floor    and    head . head + tail . tail >= query_full + row_full.
   All of it is counted in whole numbers that fit into 32 bits, so every path and any order find the same. */

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { ROWS = 16, MOST_FOURS = 8, AT_ONCE = 4 };

#define INLINED static inline __attribute__((always_inline))

typedef struct {
    const int8_t *query_heads, *query_tails; /* [queries][head], [queries][tail] */
    const int32_t *query_floors, *query_full; /* [queries] */
    const int32_t *query_starts; /* [queries]: less than nothing by the floor and 128 times the sum of a head's bytes */
    const int8_t *tiles, *tails; /* [tiles][head / 4][ROWS][4], [tiles * ROWS][tail] */
    const int32_t *row_floors, *row_full; /* [tiles * ROWS] */
    int64_t queries, tile_count, head, tail;
    int64_t *found; /* [room][2]: query, row */
    int64_t room;
} Screen;

/* Looks at the rows of a tile that the head lets through (a bit of `rows` each), and writes down those that the tail
   lets through as well; `sums` are head . head - query_floor - row_floor. Counts on where there is no room any more.
   Inlined, so that it is compiled for the processor that its caller is for. */
INLINED int64_t look_closer(const Screen *s, int64_t count, int64_t tile, int64_t query, uint32_t rows,
                            const int32_t *sums)
{
    const int8_t *mine = s->query_tails + query * s->tail;
    for (; rows; rows &= rows - 1) {
        const int row = __builtin_ctz(rows);
        int64_t place = tile * ROWS + row;
        const int8_t *theirs = s->tails + place * s->tail;
        int32_t sum = sums[row] + s->query_floors[query] + s->row_floors[place];
        for (int64_t dim = 0; dim < s->tail; dim++)
            sum += (int32_t)mine[dim] * theirs[dim];
        if (sum < s->query_full[query] + s->row_full[place])
            continue;
        if (count < s->room) {
            s->found[2 * count] = query;
            s->found[2 * count + 1] = place;
        }
        count++;
    }
    return count;
}

static inline int32_t four_bytes(const int8_t *from)
{
    int32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

#define WITH_AVX2 __attribute__((target("avx2")))

/* |query| times the row with the query's sign: two such products fit into 16 bits since no byte is below -127. `fours`,
   a quarter of the head, is known to the compiler: then all of a tile stays in registers. */
WITH_AVX2 INLINED int64_t screen_avx2(const Screen *s, const int fours)
{
    int64_t count = 0;
    const __m256i ones = _mm256_set1_epi16(1);
    for (int64_t tile = 0; tile < s->tile_count; tile++) {
        __m256i rows[2 * MOST_FOURS];
        memcpy(rows, s->tiles + tile * 4 * fours * ROWS, (size_t)(4 * fours * ROWS));
        const __m256i *floors = (const __m256i *)(s->row_floors + tile * ROWS);
        const __m256i low = _mm256_loadu_si256(floors), high = _mm256_loadu_si256(floors + 1);
        for (int64_t query = 0; query < s->queries; query++) {
            const int8_t *head = s->query_heads + query * 4 * fours;
            const __m256i floor = _mm256_set1_epi32(-s->query_floors[query]);
            __m256i first = _mm256_sub_epi32(floor, low), second = _mm256_sub_epi32(floor, high);
            for (int four = 0; four < fours; four++) {
                const __m256i value = _mm256_set1_epi32(four_bytes(head + 4 * four));
                const __m256i size = _mm256_abs_epi8(value);
                const __m256i a = _mm256_maddubs_epi16(size, _mm256_sign_epi8(rows[2 * four], value));
                const __m256i b = _mm256_maddubs_epi16(size, _mm256_sign_epi8(rows[2 * four + 1], value));
                first = _mm256_add_epi32(first, _mm256_madd_epi16(a, ones));
                second = _mm256_add_epi32(second, _mm256_madd_epi16(b, ones));
            }
            const uint32_t below = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(first))
                                   | (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(second)) << 8;
            if (below != 0xffff) {
                int32_t sums[ROWS];
                _mm256_storeu_si256((__m256i *)sums, first);
                _mm256_storeu_si256((__m256i *)sums + 1, second);
                count = look_closer(s, count, tile, query, ~below & 0xffff, sums);
            }
        }
    }
    return count;
}

#define WITH_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

WITH_VNNI INLINED int64_t hear_vnni(const Screen *s, int64_t count, int64_t tile, int64_t query, __m512i sums)
{
    const uint32_t near = _mm512_cmpge_epi32_mask(sums, _mm512_setzero_si512());
    int32_t each[ROWS];
    if (!near)
        return count;
    _mm512_storeu_si512(each, sums);
    return look_closer(s, count, tile, query, near, each);
}

/* A tile stays in registers, as unsigned bytes (row + 128), while all queries go by, AT_ONCE at a time: their number is
   a multiple of that. What the 128 adds to every product is taken off beforehand. */
WITH_VNNI INLINED int64_t screen_vnni(const Screen *s, const int fours)
{
    int64_t count = 0;
    const __m512i flip = _mm512_set1_epi8((char)0x80), zero = _mm512_setzero_si512();
    for (int64_t tile = 0; tile < s->tile_count; tile++) {
        const __m512i floors = _mm512_loadu_si512(s->row_floors + tile * ROWS);
        const int8_t *values = s->tiles + tile * 4 * fours * ROWS;
        __m512i rows[MOST_FOURS], over[AT_ONCE];
        for (int four = 0; four < fours; four++)
            rows[four] = _mm512_xor_si512(_mm512_loadu_si512(values + four * 4 * ROWS), flip);
        for (int64_t query = 0; query < s->queries; query += AT_ONCE) {
            const int8_t *heads = s->query_heads + query * 4 * fours;
            for (int each = 0; each < AT_ONCE; each++)
                over[each] = _mm512_sub_epi32(_mm512_set1_epi32(s->query_starts[query + each]), floors);
            for (int four = 0; four < fours; four++)
                for (int each = 0; each < AT_ONCE; each++)
                    over[each] = _mm512_dpbusd_epi32(
                        over[each], rows[four], _mm512_set1_epi32(four_bytes(heads + 4 * (each * fours + four))));
            const __m512i all = _mm512_and_si512(_mm512_and_si512(over[0], over[1]), _mm512_and_si512(over[2], over[3]));
            if (_mm512_cmpge_epi32_mask(all, zero))
                for (int each = 0; each < AT_ONCE; each++)
                    count = hear_vnni(s, count, tile, query + each, over[each]);
        }
    }
    return count;
}

WITH_AVX2 static int64_t screen_16_avx2(const Screen *s) { return screen_avx2(s, 4); }
WITH_AVX2 static int64_t screen_32_avx2(const Screen *s) { return screen_avx2(s, 8); }
WITH_VNNI static int64_t screen_16_vnni(const Screen *s) { return screen_vnni(s, 4); }
WITH_VNNI static int64_t screen_32_vnni(const Screen *s) { return screen_vnni(s, 8); }

enum { AVX2 = 1, VNNI = 2 };

/* Whether this processor can go a path. */
int interlake_can(int path)
{
    if (path == VNNI)
        return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512vl");
    return path == AVX2 && __builtin_cpu_supports("avx2");
}

/* How many pairs there are; the first `room` of them are in `found`, tile by tile and query by query within one. */
int64_t interlake_screen(const Screen *screen, int path)
{
    if (path == VNNI)
        return screen->head == 16 ? screen_16_vnni(screen) : screen_32_vnni(screen);
    return screen->head == 16 ? screen_16_avx2(screen) : screen_32_avx2(screen);
}
