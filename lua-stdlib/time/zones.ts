// Time zones: which offset and abbreviation hold at an instant. IANA zones come from the tables inside Intl; asking it is slow, so a zone
// remembers the days it was asked about. A day that starts and ends with one offset has that offset throughout.

import { daysFromCivil, SECONDS_PER_DAY } from './civil.ts'

/** @see Zones. Instants are UTC seconds since 1970. */
export interface Zone {
  /** What `location:string()` shows, a byte string. */
  readonly name: string
  /** East of UTC. */
  offsetAt(seconds: number): number
  /** `CET`, `+0530`; empty for a fixed zone without a name. A byte string. */
  abbreviationAt(seconds: number): string
}

/** How many days a zone remembers, and how many zones `Zones` does. */
const DAYS_MAX = 1024
const ZONES_MAX = 64
/** How far from 1970 Intl reaches. */
const INTL_SECONDS_MAX = 8.64e12

/** English locales, each of which abbreviates the zones of its own part of the world. */
const LOCALES = ['en-US', 'en-GB', 'en-CA', 'en-AU', 'en-NZ', 'en-IN', 'en-ZA'] as const

/**
 * Abbreviations of the tz database, by offset in seconds, where Intl has other ones or none. At an offset that is not listed the zone
 * shows digits.
 */
const ABBREVIATIONS: readonly (readonly [byOffset: Readonly<Record<number, string>>, zones: string])[] = [
  [
    { 28800: 'CST' },
    'Asia/Chongqing Asia/Chungking Asia/Harbin Asia/Macao Asia/Macau Asia/Shanghai Asia/Taipei PRC ROC',
  ],
  [{ 28800: 'HKT' }, 'Asia/Hong_Kong Hongkong'],
  [{ 28800: 'PST' }, 'Asia/Manila'],
  [{ 28800: 'WITA' }, 'Asia/Makassar Asia/Ujung_Pandang'],
  [{ 25200: 'WIB' }, 'Asia/Jakarta Asia/Pontianak'],
  [{ 32400: 'WIT' }, 'Asia/Jayapura'],
  [{ 32400: 'JST' }, 'Asia/Tokyo Japan'],
  [{ 32400: 'KST' }, 'Asia/Pyongyang Asia/Seoul ROK'],
  [{ 18000: 'PKT' }, 'Asia/Karachi'],
  [{ 7200: 'IST', 10800: 'IDT' }, 'Asia/Jerusalem Asia/Tel_Aviv Israel'],
  [{ 10800: 'MSK' }, 'Europe/Kirov Europe/Moscow Europe/Simferopol Europe/Volgograd W-SU'],
  [{ 0: 'GMT', 3600: 'IST' }, 'Eire Europe/Dublin'],
  [{ 0: 'GMT', 3600: 'BST' }, 'Europe/Guernsey Europe/Isle_of_Man Europe/Jersey'],
  [{ 0: 'GMT' }, 'Etc/GMT Etc/GMT+0 Etc/GMT-0 Etc/GMT0 Etc/Greenwich GMT GMT+0 GMT-0 GMT0 Greenwich'],
  [{ 3600: 'MET', 7200: 'MEST' }, 'MET'],
  [{ [-36_000]: 'HST', [-32_400]: 'HDT' }, 'America/Adak America/Atka US/Aleutian'],
  [{ [-18_000]: 'CST', [-14_400]: 'CDT' }, 'America/Havana Cuba'],
  [
    { [-25_200]: 'MST' },
    'America/Dawson America/Hermosillo America/Mazatlan America/Whitehorse Canada/Yukon Mexico/BajaSur',
  ],
  [{ 36000: 'ChST' }, 'Pacific/Guam Pacific/Saipan'],
  [{ [-39_600]: 'SST' }, 'Pacific/Midway Pacific/Pago_Pago Pacific/Samoa US/Samoa'],
  [
    {},
    'Africa/Casablanca Africa/El_Aaiun America/Miquelon Antarctica/Casey Antarctica/Troll Asia/Colombo Asia/Dubai Asia/Muscat Australia/Eucla Australia/LHI ' +
      'Australia/Lord_Howe NZ-CHAT Pacific/Chatham',
  ],
]

export class FixedZone implements Zone {
  readonly name: string
  readonly #offsetSeconds: number
  readonly #abbreviation: string
  constructor(name: string, offsetSeconds: number, abbreviation = name) {
    this.name = name
    this.#offsetSeconds = offsetSeconds
    this.#abbreviation = abbreviation
  }
  offsetAt(): number {
    return this.#offsetSeconds
  }
  abbreviationAt(): string {
    return this.#abbreviation
  }
}

export const UTC: Zone = new FixedZone('UTC', 0)

/** A day with one offset. The abbreviation is looked up when somebody wants it. */
interface Day {
  readonly offsetSeconds: number
  abbreviation: string | undefined
}

class IanaZone implements Zone {
  readonly name: string
  readonly #ianaName: string
  readonly #offsets: Intl.DateTimeFormat
  readonly #abbreviations: Readonly<Record<number, string>> | undefined
  readonly #named: (Intl.DateTimeFormat | undefined)[] = []
  /** By number of the day; undefined for a day within which the offset changes. */
  readonly #days = new Map<number, Day | undefined>()

  /** @throws RangeError when Intl does not know `ianaName` */
  constructor(name: string, ianaName: string) {
    this.name = name
    this.#ianaName = ianaName
    this.#offsets = new Intl.DateTimeFormat('en-US', { timeZone: ianaName, timeZoneName: 'longOffset' })
    this.#abbreviations = ABBREVIATIONS.find(([, zones]) => zones.split(' ').includes(ianaName))?.[0]
  }

  offsetAt(seconds: number): number {
    return this.#dayOf(seconds)?.offsetSeconds ?? this.#askOffset(seconds)
  }

  abbreviationAt(seconds: number): string {
    const day = this.#dayOf(seconds)
    if (day === undefined) return this.#askAbbreviation(seconds, this.#askOffset(seconds))
    day.abbreviation ??= this.#askAbbreviation(seconds, day.offsetSeconds)
    return day.abbreviation
  }

  #dayOf(seconds: number): Day | undefined {
    const number = Math.floor(seconds / SECONDS_PER_DAY)
    const known = this.#days.get(number)
    if (known !== undefined || this.#days.has(number)) return known
    const offsetSeconds = this.#askOffset(number * SECONDS_PER_DAY)
    const isUniform = offsetSeconds === this.#askOffset((number + 1) * SECONDS_PER_DAY)
    const day = isUniform ? { offsetSeconds, abbreviation: undefined } : undefined
    if (this.#days.size >= DAYS_MAX) this.#days.clear()
    this.#days.set(number, day)
    return day
  }

  #askOffset(seconds: number): number {
    const match = /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(this.#offsets.format(withinIntl(seconds)))
    if (match === null) return 0
    const size = Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4] ?? 0)
    return match[1] === '-' ? 0 - size : size
  }

  #askAbbreviation(seconds: number, offsetSeconds: number): string {
    if (this.#abbreviations !== undefined) return this.#abbreviations[offsetSeconds] ?? digits(offsetSeconds)
    for (const [index, locale] of LOCALES.entries()) {
      this.#named[index] ??= new Intl.DateTimeFormat(locale, { timeZone: this.#ianaName, timeZoneName: 'short' })
      const parts = this.#named[index].formatToParts(withinIntl(seconds))
      const part = parts.find(({ type }) => type === 'timeZoneName')
      if (part !== undefined && /^[A-Za-z]+$/.test(part.value)) return part.value
    }
    return digits(offsetSeconds)
  }
}

/** The milliseconds that Intl is asked about: beyond its reach, those of the last instant within. */
function withinIntl(seconds: number): number {
  return Math.min(INTL_SECONDS_MAX, Math.max(-INTL_SECONDS_MAX, seconds)) * 1000
}

/** `+03`, `-0330`: what the tz database writes for zones without letters. */
function digits(offsetSeconds: number): string {
  const minutes = Math.floor(Math.abs(offsetSeconds) / 60)
  const two = (value: number): string => String(value).padStart(2, '0')
  const rest = minutes % 60 === 0 ? '' : two(minutes % 60)
  return `${offsetSeconds < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}${rest}`
}

/** The zones that one engine's scripts use. */
export class Zones {
  readonly local: Zone
  readonly #loaded = new Map<string, Zone>()

  /** @param localName the IANA name of the machine's own zone; by default what the environment says */
  constructor(localName = Intl.DateTimeFormat().resolvedOptions().timeZone) {
    // A machine without a zone reports none that Intl itself would know.
    this.local = ianaZone('Local', localName) ?? new FixedZone('Local', 0, 'UTC')
  }

  /** `UTC`, `Local`, or an IANA name in its own spelling; undefined when there is no such zone. */
  load(name: string): Zone | undefined {
    if (name === 'UTC') return UTC
    if (name === 'Local') return this.local
    const known = this.#loaded.get(name)
    if (known !== undefined) return known
    const zone = ianaZone(name, name)
    if (zone === undefined) return undefined
    if (this.#loaded.size >= ZONES_MAX) this.#loaded.clear()
    this.#loaded.set(name, zone)
    return zone
  }
}

function ianaZone(name: string, ianaName: string): Zone | undefined {
  // Intl of some engines takes offsets such as +05:00 for zones, and any case; IANA names start with a capital letter.
  if (!/^[A-Z][A-Za-z0-9_+/-]*$/.test(ianaName)) return undefined
  try {
    return new IanaZone(name, ianaName)
  } catch {
    return undefined
  }
}

/**
 * The UTC seconds at which clocks in `zone` show `local` (seconds since 1970 as if the zone were UTC). For a time that the clocks skip or
 * show twice, the answer takes the offset of one of the two sides.
 */
export function toUtc(zone: Zone, local: number): number {
  return local - zone.offsetAt(local - zone.offsetAt(local))
}

/**
 * Whether clocks in `zone` are ahead of what they show in the other half of that year, on either half of the globe. Zones themselves do
 * not say which of their offsets is the standard one.
 */
export function isSummerTime(zone: Zone, seconds: number, year: number): boolean {
  const offsetIn = (month: number): number => zone.offsetAt(daysFromCivil(year, month, 15) * SECONDS_PER_DAY)
  return zone.offsetAt(seconds) > Math.min(offsetIn(1), offsetIn(7))
}

/** A winter and a summer for readings without a date, which lie in year 0, long before zones had abbreviations. */
const MODERN_SECONDS = [1_705_276_800, 1_721_001_600] as const

interface NamedOffset {
  readonly offsetSeconds: number
  /** The zone uses the abbreviation around that time, if not at the very moment. */
  readonly isInUse: boolean
}

/** What `abbreviation` stands for in `zone` around the local time given, else at present; undefined when it stands for nothing. */
export function offsetNamed(zone: Zone, abbreviation: string, local: number): NamedOffset | undefined {
  const halfYear = 182 * SECONDS_PER_DAY
  const around = [local, local - halfYear, local + halfYear]
  const isNamed = (seconds: number): boolean => zone.abbreviationAt(seconds) === abbreviation
  const inUse = around.map((near) => local - zone.offsetAt(near)).find(isNamed) ?? around.find(isNamed)
  const found = inUse ?? MODERN_SECONDS.find(isNamed)
  return found === undefined ? undefined : { offsetSeconds: zone.offsetAt(found), isInUse: inUse !== undefined }
}
