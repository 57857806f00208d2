// A machine for the tests of settings: its names, addresses, clock and files.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ClusterContext, type ClusterSettings, clusterSettings } from '../../../cluster/config.ts'

export const KEY_16 = Buffer.alloc(16, 1).toString('base64')
export const KEY_24 = Buffer.alloc(24, 2).toString('base64')
export const KEY_32 = Buffer.alloc(32, 3).toString('base64')

/** `text` of a file, and its mode if it matters. */
export type TestFiles = Readonly<Record<string, string | { text: string; mode: number }>>

export function machine(changes: Partial<ClusterContext> = {}, files: TestFiles = {}): ClusterContext {
  return {
    hostName: 'host-1',
    nodeName: undefined,
    dataDir: '/data',
    interfaces: [
      { name: 'lo', address: '127.0.0.1' },
      { name: 'wan', address: '203.0.113.7' },
      { name: 'eth0', address: '10.0.0.5' },
      { name: 'eth1', address: '192.168.1.5' },
    ],
    packageVersion: '0.1.0',
    nowMs: Date.UTC(2050, 0, 1),
    resolvePath: (_path, text) => (text.startsWith('/') ? text : `/app/${text}`),
    readFile(file) {
      const found = files[file]
      if (found === undefined) return { ok: false, why: 'no such file' }
      return typeof found === 'string' ? { ok: true, text: found, mode: 0o600 } : { ok: true, ...found }
    },
    ...changes,
  }
}

export const pem = (name: string): string => readFileSync(join(import.meta.dirname, 'testdata', name), 'utf8')

/** The settings of a section that is right. */
export function settingsOf(raw: object, context = machine()): ClusterSettings {
  const { settings, problems } = clusterSettings(raw, context)
  if (settings === undefined) throw new Error(shown(problems).join('\n'))
  return settings
}

/** `path: message` */
export const problemsOf = (raw: object, context = machine()): string[] => shown(clusterSettings(raw, context).problems)

export const warningsOf = (raw: object, context = machine()): string[] => {
  const { problems, warnings } = clusterSettings({ enabled: true, ...raw }, context)
  if (problems.length > 0) throw new Error(shown(problems).join('\n'))
  return shown(warnings)
}

function shown(list: readonly { path: readonly (string | number)[]; message: string }[]): string[] {
  return list.map(({ path, message }) => `${path.join('.')}: ${message}`)
}

/** `{ a: { b: value } }` for `a.b`. */
export function at(path: string, value: unknown): Record<string, unknown> {
  return path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Record<string, unknown>
}

/** Two sections in one; maps are joined. */
export function both(a: Record<string, unknown>, b: Record<string, unknown>): Record<string, unknown> {
  const out = { ...a }
  for (const [key, value] of Object.entries(b)) {
    const there = out[key]
    const isMap = typeof there === 'object' && typeof value === 'object' && there !== null && value !== null
    out[key] = isMap ? both(there as Record<string, unknown>, value as Record<string, unknown>) : value
  }
  return out
}
