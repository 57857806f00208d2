// What a program hands in may be anything: JavaScript asks for no types. What is of a wrong one is refused where it comes in, by its name, and
// not where it first hurts.

import { MoonmeshError } from './errors.ts'

const FORMS = {
  text: { words: 'a string', holds: (value: unknown) => typeof value === 'string' },
  flag: { words: 'true or false', holds: (value: unknown) => typeof value === 'boolean' },
  ms: { words: 'a number of milliseconds from 0', holds: (value: unknown) => typeof value === 'number' && value >= 0 },
  count: {
    words: 'a whole number from 1',
    holds: (value: unknown) => Number.isSafeInteger(value) && Number(value) > 0,
  },
  list: { words: 'an array', holds: (value: unknown) => Array.isArray(value) },
  function: { words: 'a function', holds: (value: unknown) => typeof value === 'function' },
  bytes: { words: 'a Uint8Array', holds: (value: unknown) => value instanceof Uint8Array },
} as const

type Form = keyof typeof FORMS

/** @throws MoonmeshError `Invalid`: `pid must be a string, not 5` */
export function requireForm(name: string, value: unknown, form: Form): void {
  const { words, holds } = FORMS[form]
  if (!holds(value)) throw new MoonmeshError('Invalid', `${name} must be ${words}, not ${shown(value)}`, NOT_AGAIN)
}

/**
 * @param forms of the options that are known; one that is absent or undefined has its default
 * @throws MoonmeshError `Invalid`
 */
export function requireOptions(options: unknown, forms: Readonly<Record<string, Form>>): void {
  if (typeof options !== 'object' || options === null) {
    throw new MoonmeshError('Invalid', `options must be an object, not ${shown(options)}`, NOT_AGAIN)
  }
  for (const [name, form] of Object.entries(forms)) {
    const value = (options as Record<string, unknown>)[name]
    if (value !== undefined) requireForm(`options.${name}`, value, form)
  }
}

const NOT_AGAIN = { retryable: false }
const SHOWN_LENGTH_MAX = 40

/** Short, whatever it is. */
function shown(value: unknown): string {
  if (typeof value === 'string') {
    const text = JSON.stringify(value)
    return text.length <= SHOWN_LENGTH_MAX ? text : `a string of ${value.length} characters`
  }
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' && value !== null
    ? 'an object'
    : typeof value === 'function'
      ? 'a function'
      : String(value)
}
