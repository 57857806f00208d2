// `zstd.train_dict` and `zstd.inspect_dict`. lua-libraries.md §21.

import type { Call, LuaTable, LuaValue, Returns } from '../../runtime/lua/engine.ts'
import { toNumber } from '../support/args.ts'
import { fail } from '../support/fail.ts'
import { DictionaryError, inspectDictionary } from './dictionary.ts'
import { trainDictionary } from './training.ts'

const SAMPLE_BYTES_MIN = 8
const LIMITS = {
  size: { min: 256, max: 1_048_576, otherwise: 114_688 },
  /** 0: one that follows from the content. */
  id: { min: 0, max: 0xffffffff, otherwise: 0 },
  /** Checked and of no effect: the tables of codes do not depend on it. */
  level: { min: 1, max: 22, otherwise: 3 },
} as const

type Options = { -readonly [Name in keyof typeof LIMITS]: number }

/** `problem` when the option is no whole number within its limits. */
function optionOf(call: Call, name: keyof Options): { value: number } | { problem: string } {
  const { min, max, otherwise } = LIMITS[name]
  const given = call.type(2) === 'table' ? call.engine.get(call.arg(2) as LuaTable, name) : undefined
  const value = given === undefined ? otherwise : toNumber(given)
  const isAllowed = value !== undefined && Number.isInteger(value) && value >= min && value <= max
  return isAllowed ? { value } : { problem: `${name} must be a whole number between ${min} and ${max}` }
}

/** The strings of a list; undefined when it holds anything else. */
function stringsOf(call: Call, list: LuaTable): Buffer[] | undefined {
  const out: Buffer[] = []
  for (let i = 1; ; i++) {
    const item: LuaValue = call.engine.get(list, i)
    if (item === undefined) return out
    if (typeof item !== 'string' || item === '') return undefined
    out.push(Buffer.from(item, 'latin1'))
  }
}

export function trainDict(call: Call): Returns {
  const samples = call.type(1) === 'table' ? stringsOf(call, call.arg(1) as LuaTable) : undefined
  if (samples === undefined || samples.length === 0)
    return fail('Invalid', 'samples must be a list of non-empty strings')
  if (!samples.some((sample) => sample.length >= SAMPLE_BYTES_MIN)) {
    return fail('Invalid', `at least one of the samples must have ${SAMPLE_BYTES_MIN} bytes`)
  }
  const options: Options = { size: 0, id: 0, level: 0 }
  for (const name of Object.keys(LIMITS) as (keyof Options)[]) {
    const read = optionOf(call, name)
    if ('problem' in read) return fail('Invalid', read.problem)
    options[name] = read.value
  }
  return [trainDictionary(samples, options).toString('latin1'), undefined]
}

export function inspectDict(call: Call): Returns {
  const data = call.arg(1)
  if (typeof data !== 'string') return fail('Invalid', 'string expected')
  try {
    const { id, contentSize } = inspectDictionary(Buffer.from(data, 'latin1'))
    const table = call.engine.newTable()
    call.engine.set(table, 'id', id)
    call.engine.set(table, 'content_size', contentSize)
    return [table, undefined]
  } catch (error) {
    if (error instanceof DictionaryError) return fail('Invalid', `invalid zstd dictionary: ${error.message}`)
    throw error
  }
}
