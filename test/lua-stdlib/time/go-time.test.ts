// What Go's time package (go1.26) answered to the same questions, recorded in testdata/go-time.jsonl, one JSON object a line. The layout
// language is Go's, so scripts bring its corners along. Left out is where we differ: `-03` for an abbreviation counts as that offset here,
// and as UTC there; an abbreviation without a date keeps its zone.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { formatDuration, parseDuration } from '../../../lua-stdlib/time/duration.ts'
import { round, truncate } from '../../../lua-stdlib/time/instant.ts'
import { formatTime, LAYOUTS, parseTime } from '../../../lua-stdlib/time/layout.ts'
import { readClock, setClock } from '../../../lua-stdlib/time/wall-clock.ts'
import { UTC, type Zone, Zones } from '../../../lua-stdlib/time/zones.ts'
import { toBytes, toText } from '../../../runtime/base/bytes.ts'

type Line =
  | { do: 'format'; zone: string; seconds: number; nanos: number; layout: string; text: string }
  | { do: 'parse'; layout: string; value: string; zone: string; ok: false }
  | {
      do: 'parse'
      layout: string
      value: string
      zone: string
      ok: true
      seconds: number
      nanos: number
      offset: number
      location: string
    }
  | {
      do: 'date'
      fields: [number, number, number, number, number, number, number]
      zone: string
      seconds: number
      nanos: number
      weekday: number
      yearDay: number
    }
  | { do: 'round'; seconds: number; nanos: number; ns: number; rounded: string; truncated: string }
  | { do: 'duration'; value: string; ok: false }
  | { do: 'duration'; value: string; ok: true; ns: string; text: string }

const path = new URL('./testdata/go-time.jsonl', import.meta.url)
const lines: Line[] = readFileSync(path, 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line))

const zones = new Zones('UTC')
const zone = (name: string): Zone => zones.load(name) as Zone

function ofKind<K extends Line['do']>(kind: K): Extract<Line, { do: K }>[] {
  return lines.filter((line): line is Extract<Line, { do: K }> => line.do === kind)
}

test('formats like Go', () => {
  const recorded = ofKind('format')
  expect(recorded.length).toBeGreaterThan(80)
  for (const { seconds, nanos, layout, text, zone: name } of recorded) {
    expect(toText(formatTime(toBytes(layout), { seconds, nanos }, zone(name))), `${layout} in ${name}`).toBe(text)
  }
})

test('parses, and refuses to parse, like Go', () => {
  const recorded = ofKind('parse')
  expect(recorded.length).toBeGreaterThan(70)
  for (const line of recorded) {
    const what = `${line.value} as ${line.layout} in ${line.zone}`
    const parsed = parseTime(toBytes(line.layout), toBytes(line.value), zone(line.zone))
    expect(parsed.ok, what).toBe(line.ok)
    if (!parsed.ok || !line.ok) continue
    expect(parsed.at, what).toEqual({ seconds: line.seconds, nanos: line.nanos })
    expect(parsed.zone.offsetAt(parsed.at.seconds), what).toBe(line.offset)
    expect(parsed.zone.name, what).toBe(line.location)
  }
})

test('rolls dates over, and resolves skipped and repeated hours, like Go', () => {
  const recorded = ofKind('date')
  expect(recorded.length).toBeGreaterThan(30)
  for (const { fields, seconds, nanos, weekday, yearDay, zone: name } of recorded) {
    const [year, month, day, hour, minute, second, ns] = fields
    const at = setClock({ year, month, day, hour, minute, second, nanos: ns }, zone(name))
    const what = `${fields.join(' ')} in ${name}`
    expect(at, what).toEqual({ seconds, nanos })
    expect(readClock({ seconds, nanos }, zone(name)), what).toMatchObject({ weekday, yearDay })
  }
})

test('rounds and truncates since the zero time like Go', () => {
  const recorded = ofKind('round')
  expect(recorded.length).toBeGreaterThan(30)
  for (const { seconds, nanos, ns, rounded, truncated } of recorded) {
    const at = { seconds, nanos }
    const what = `${seconds} to ${ns}`
    expect(formatTime(LAYOUTS.RFC3339NANO, round(at, BigInt(ns)), UTC), what).toBe(rounded)
    expect(formatTime(LAYOUTS.RFC3339NANO, truncate(at, BigInt(ns)), UTC), what).toBe(truncated)
  }
})

test('reads and writes durations like Go', () => {
  const recorded = ofKind('duration')
  expect(recorded.length).toBeGreaterThan(20)
  for (const line of recorded) {
    const ns = parseDuration(toBytes(line.value))
    expect(ns, line.value).toBe(line.ok ? BigInt(line.ns) : undefined)
    if (ns !== undefined && line.ok) expect(formatDuration(ns), line.value).toBe(line.text)
  }
})
