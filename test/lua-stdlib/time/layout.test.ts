import { describe, expect, test } from 'vitest'
import type { Instant } from '../../../lua-stdlib/time/instant.ts'
import { DEFAULT_LAYOUT, formatTime, LAYOUTS, parseTime } from '../../../lua-stdlib/time/layout.ts'
import { FixedZone, UTC, Zones } from '../../../lua-stdlib/time/zones.ts'
import { fc } from '../../tools/property.ts'

const REFERENCE: Instant = { seconds: Date.UTC(2006, 0, 2, 22, 4, 5) / 1000, nanos: 0 }
const MST = new FixedZone('MST', -7 * 3600)

test('a layout formats the reference moment as itself', () => {
  for (const layout of Object.values(LAYOUTS)) {
    // Nines drop the zero fraction, Z stands for an offset only at UTC, and an underscore is a space.
    const expected = layout
      .replace('.999999999', '')
      .replace(/Z07:00$/, '-07:00')
      .replace('_', ' ')
    expect(formatTime(layout, REFERENCE, MST)).toBe(expected)
  }
})

describe('format then parse', () => {
  const instants = fc.record({
    // Years 0000 to 9999, which four digits can say.
    seconds: fc.integer({ min: -62_167_219_200 + 86_400, max: Date.UTC(9999, 11, 30) / 1000 }),
    nanos: fc.integer({ min: 0, max: 999_999_999 }),
  })
  const offsets = fc.integer({ min: -86_399, max: 86_399 })

  test('gives back the instant and the offset, to the nanosecond', () => {
    const layouts = fc.constantFrom(
      '2006-01-02T15:04:05.999999999-07:00:00',
      'Monday 2 January 2006 3:04:05.000000000PM -070000',
      '2006 002 15h4m5,999999999s Z07:00:00',
      '_2 Jan 2006 at 03:4:5.000000000 pm Z070000',
    )
    fc.assert(
      fc.property(instants, offsets, layouts, (at, offset, layout) => {
        const text = formatTime(layout, at, new FixedZone('', offset))
        const parsed = parseTime(layout, text, UTC)
        expect(parsed).toMatchObject({ ok: true, at })
        if (parsed.ok) expect(parsed.zone.offsetAt(at.seconds)).toBe(offset)
      }),
      { numRuns: 1000 },
    )
  })

  test('gives back an IANA zone when it is the one that was asked for', () => {
    const zone = new Zones('Europe/Berlin').local
    const at = { seconds: 1_720_000_000, nanos: 5 }
    expect(parseTime(DEFAULT_LAYOUT, formatTime(DEFAULT_LAYOUT, at, zone), zone)).toEqual({ ok: true, at, zone })
  })
})

test('no layout and no value makes format or parse fail', () => {
  const piece = fc.constantFrom(
    ...[
      '2006',
      '06',
      '01',
      'Jan',
      '02',
      '_2',
      '__2',
      '002',
      'Mon',
      '15',
      '03',
      'PM',
      '04',
      '05',
      '.000',
      ',999',
      'MST',
    ],
    ...['-0700', 'Z07:00', '-', ' ', ':', 'x', '\xff', '+12:34', '99', '0', 'Feb', 'am', 'GMT+5', 'Z'],
  )
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))
  fc.assert(
    fc.property(text, text, (layout, value) => {
      formatTime(layout, REFERENCE, MST)
      const parsed = parseTime(layout, value, UTC)
      if (!parsed.ok) expect(parsed.message).toMatch(/^(parsing time|time out of range)/)
    }),
    { numRuns: 1000 },
  )
})

describe('format', () => {
  test('years before 1 have a sign, years after 9999 more digits', () => {
    const at = (year: number): Instant => ({ seconds: Date.UTC(year, 0, 1) / 1000, nanos: 0 })
    expect([at(-5), at(12_345)].map((one) => formatTime('2006', one, UTC))).toEqual(['-0005', '12345'])
  })

  test('a zone without an abbreviation shows its offset for MST', () => {
    expect(formatTime('MST', REFERENCE, new FixedZone('', 19_800))).toBe('+0530')
  })

  test('text that only begins like a token stays', () => {
    expect(formatTime('Monkey Janet _2006', REFERENCE, UTC)).toBe('Monkey Janet _2006')
  })
})

describe('parse', () => {
  test('absent parts are year 0, the first of January, midnight', () => {
    expect(parseTime('', '', UTC)).toEqual({
      ok: true,
      at: { seconds: Date.UTC(2000, 0, 1) / 1000 - 63_113_904_000, nanos: 0 },
      zone: UTC,
    })
  })

  test('an abbreviation that the zone does not know is kept; digits after it, or alone, say how far from Greenwich it is', () => {
    const noon = Date.UTC(2024, 0, 1, 12) / 1000
    const read = (value: string): unknown => {
      const parsed = parseTime('2006-01-02 15:04 MST', `2024-01-01 12:00 ${value}`, UTC)
      return parsed.ok && [parsed.at.seconds, parsed.zone.name, parsed.zone.offsetAt(0)]
    }
    expect(read('XYZ')).toEqual([noon, 'XYZ', 0])
    expect(read('GMT+3')).toEqual([noon - 10_800, 'GMT+3', 10_800])
    expect(read('-03')).toEqual([noon + 10_800, '-03', -10_800])
    expect(read('UTC')).toEqual([noon, 'UTC', 0])
  })

  test('a time of day with an abbreviation keeps both', () => {
    const parsed = parseTime('15:04 MST', '10:00 CEST', new Zones('Europe/Berlin').local)
    expect(parsed.ok && [parsed.zone.name, formatTime('15:04 MST', parsed.at, parsed.zone)]).toEqual([
      'CEST',
      '10:00 CEST',
    ])
  })

  test('the message names value, layout and what is wrong', () => {
    const message = (layout: string, value: string): string => {
      const parsed = parseTime(layout, value, UTC)
      return parsed.ok ? 'parsed' : parsed.message
    }
    expect(message(LAYOUTS.DATE_ONLY, '2024-13-01')).toBe(
      'parsing time "2024-13-01" as "2006-01-02": month out of range',
    )
    expect(message(LAYOUTS.DATE_ONLY, '2024-02-30')).toContain('day out of range')
    expect(message(LAYOUTS.DATE_ONLY, '2024/01/01')).toContain('cannot parse "/01/01" as "-"')
    expect(message(LAYOUTS.DATE_ONLY, '2024-01-01 ')).toContain('extra text: " "')
    expect(message('2006', 'x'.repeat(1000)).length).toBeLessThan(300)
  })
})
