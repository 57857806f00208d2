import { describe, expect, test } from 'vitest'
import { readClock, setClock } from '../../../lua-stdlib/time/wall-clock.ts'
import { FixedZone, isSummerTime, offsetNamed, toUtc, UTC, type Zone, Zones } from '../../../lua-stdlib/time/zones.ts'
import { fc } from '../../tools/property.ts'

const zones = new Zones('Europe/Berlin')
const zone = (name: string): Zone => zones.load(name) as Zone
const seconds = (text: string): number => Date.parse(text) / 1000

describe('loading', () => {
  test('knows UTC, Local and IANA names, each by the name it was asked for', () => {
    expect(['UTC', 'Local', 'Europe/London', 'Asia/Kolkata', 'US/Eastern'].map((name) => zone(name).name)).toEqual([
      ...['UTC', 'Local', 'Europe/London', 'Asia/Kolkata', 'US/Eastern'],
    ])
  })

  test.each(['', 'Nowhere/Land', '+05:00', 'europe/london', 'utc', '../etc/passwd', 'X\0'])(
    'does not know %j',
    (name) => {
      expect(zones.load(name)).toBeUndefined()
    },
  )

  test('loads a zone once', () => {
    expect(zones.load('Asia/Tokyo')).toBe(zones.load('Asia/Tokyo'))
  })

  test('a machine without a zone of its own lives in UTC', () => {
    const { local } = new Zones('Etc/Unknown')
    expect([local.name, local.offsetAt(0), local.abbreviationAt(0)]).toEqual(['Local', 0, 'UTC'])
  })
})

describe('offsets and abbreviations', () => {
  test.each([
    ['Europe/Berlin', 3600, 'CET', 7200, 'CEST'],
    ['Europe/London', 0, 'GMT', 3600, 'BST'],
    ['America/New_York', -18_000, 'EST', -14_400, 'EDT'],
    ['America/St_Johns', -12_600, 'NST', -9000, 'NDT'],
    ['Australia/Sydney', 39_600, 'AEDT', 36_000, 'AEST'],
    ['Asia/Kolkata', 19_800, 'IST', 19_800, 'IST'],
    ['Asia/Tokyo', 32_400, 'JST', 32_400, 'JST'],
    ['Asia/Kathmandu', 20_700, '+0545', 20_700, '+0545'],
    ['America/Sao_Paulo', -10_800, '-03', -10_800, '-03'],
    ['Europe/Dublin', 0, 'GMT', 3600, 'IST'],
    ['UTC', 0, 'UTC', 0, 'UTC'],
  ])('%s in January and July 2024', (name, winterOffset, winterName, summerOffset, summerName) => {
    const winter = seconds('2024-01-15T00:00:00Z')
    const summer = seconds('2024-07-15T00:00:00Z')
    expect([zone(name).offsetAt(winter), zone(name).abbreviationAt(winter)]).toEqual([winterOffset, winterName])
    expect([zone(name).offsetAt(summer), zone(name).abbreviationAt(summer)]).toEqual([summerOffset, summerName])
  })

  test.each([
    ['Europe/Berlin', '2024-03-31T00:59:59Z', false],
    ['Europe/Berlin', '2024-03-31T01:00:00Z', true],
    ['Europe/Berlin', '2024-10-27T01:00:00Z', false],
    ['America/New_York', '2024-11-03T05:59:59Z', true],
    ['America/New_York', '2024-12-31T23:59:59Z', false],
    ['Australia/Sydney', '2024-01-15T00:00:00Z', true],
    ['Australia/Sydney', '2024-07-15T00:00:00Z', false],
    ['Asia/Kolkata', '2024-07-15T00:00:00Z', false],
    ['UTC', '2024-07-15T00:00:00Z', false],
  ] as const)('%s at %s: summer time is %s', (name, at, expected) => {
    expect(isSummerTime(zone(name), seconds(at), 2024)).toBe(expected)
  })

  test('changes at the very second of the transition', () => {
    const berlin = zone('Europe/Berlin')
    const change = seconds('2024-03-31T01:00:00Z')
    expect([change - 1, change].map((at) => berlin.offsetAt(at))).toEqual([3600, 7200])
    expect([change - 1, change].map((at) => berlin.abbreviationAt(at))).toEqual(['CET', 'CEST'])
  })

  test('what is remembered is what was asked: a zone answers the same in any order', () => {
    const near = fc.integer({ min: seconds('2024-01-01T00:00:00Z'), max: seconds('2025-01-01T00:00:00Z') })
    fc.assert(
      fc.property(fc.array(near, { minLength: 1, maxLength: 20 }), (instants) => {
        const used = zone('America/New_York')
        for (const at of instants) {
          const fresh = new Zones('UTC').load('America/New_York') as Zone
          expect(used.offsetAt(at)).toBe(fresh.offsetAt(at))
        }
      }),
      { numRuns: 20 },
    )
  })

  test('instants beyond the calendar of Intl have the offset of its end', () => {
    expect(zone('Asia/Tokyo').offsetAt(1e15)).toBe(32_400)
  })
})

describe('from local time to UTC', () => {
  test('a clock set to what it showed shows the same, and the same instant where no hour repeats', () => {
    const names = fc.constantFrom('UTC', 'Asia/Kolkata', 'America/Sao_Paulo', 'Europe/Berlin', 'America/New_York')
    const instants = fc.record({
      seconds: fc.integer({ min: seconds('2021-01-01T00:00:00Z'), max: seconds('2030-01-01T00:00:00Z') }),
      nanos: fc.integer({ min: 0, max: 999_999_999 }),
    })
    fc.assert(
      fc.property(names, instants, (name, at) => {
        const { offsetSeconds, ...shown } = readClock(at, zone(name))
        const back = setClock(shown, zone(name))
        expect(back && readClock(back, zone(name))).toMatchObject(shown)
        if (!/Berlin|York/.test(name)) expect(back).toEqual(at)
      }),
    )
  })

  test('a skipped hour takes the offset of one of its sides', () => {
    const local = seconds('2024-03-31T02:30:00Z')
    expect([3600, 7200]).toContain(local - toUtc(zone('Europe/Berlin'), local))
  })

  test('an abbreviation stands for its offset, also in the other half of the year, and before zones had any', () => {
    const summer = seconds('2024-07-01T12:00:00Z')
    const berlin = zone('Europe/Berlin')
    const inUse = (offsetSeconds: number): unknown => ({ offsetSeconds, isInUse: true })
    expect(['CEST', 'CET', 'EST'].map((name) => offsetNamed(berlin, name, summer))).toEqual([
      inUse(7200),
      inUse(3600),
      undefined,
    ])
    expect(offsetNamed(UTC, 'UTC', summer)).toEqual(inUse(0))
    expect(offsetNamed(new FixedZone('X', 60), 'X', summer)).toEqual(inUse(60))
    expect(offsetNamed(berlin, 'CEST', -62_167_219_200)).toEqual({ offsetSeconds: 7200, isInUse: false })
  })
})
