// Whatever the cluster logs has a text for people and a row in the reference.

import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { LOG_TEXTS, logText } from '../../cluster/log-events.ts'

const CLUSTER = resolve(import.meta.dirname, '../../cluster')
const LOGGED = /\b(?:log|#log|complain)\(\s*(?:[^'"`()]*,\s*)?'(?:info|warn|error)',\s*'([a-z]+_[a-z_]+)'/g

const logged = new Set(
  readdirSync(CLUSTER, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => [...readFileSync(join(CLUSTER, name), 'utf8').matchAll(LOGGED)])
    .map(([, event]) => event as string),
)

test('every event that is logged has a text', () => {
  expect(logged.size).toBeGreaterThan(30)
  expect([...logged].filter((event) => LOG_TEXTS[event] === undefined)).toEqual([])
  expect(logText('something_new')).toBe('something new')
})

test('docs/reference/log-events.md has a row for each, in order, with its text', () => {
  const page = readFileSync(resolve(CLUSTER, '../docs/reference/log-events.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `(\w+)` \| (.*?) \| /gm)].map(([, event, text]) => `${event}: ${text}`)
  expect(rows).toEqual(
    Object.entries(LOG_TEXTS)
      .map(([event, text]) => `${event}: ${text}`)
      .sort(),
  )
})
