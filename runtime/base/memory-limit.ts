// What one process may hold, where less is meant than the host gives each: as a field of its entry, or of whoever spawns it.

import { parseSizeBytes } from './duration.ts'

/** Less than a process needs that does anything. */
export const MEMORY_LIMIT_BYTES_MIN = 1024 * 1024

/** @param bytes whole MiB */
export const formatMemoryLimit = (bytes: number): string => `${bytes / 2 ** 20}MiB`

/** @param given bytes, or a text such as `32MiB`   @returns bytes; undefined: it is no size, or too little */
export function readMemoryLimit(given: unknown): number | undefined {
  const bytes = typeof given === 'string' ? parseSizeBytes(given) : given
  return typeof bytes === 'number' && Number.isSafeInteger(bytes) && bytes >= MEMORY_LIMIT_BYTES_MIN ? bytes : undefined
}

/** The least of what was said; undefined: nothing was. */
export function leastMemory(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
}
