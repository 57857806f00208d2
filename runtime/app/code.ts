// The code among the entries of an app, as hosts run it.

import { toBytes } from '../base/bytes.ts'
import type { CodeEntry } from '../lua/sandbox.ts'
import type { Entry } from './entries.ts'
import { callRulesOf } from './schema.ts'

export function codeOf(entries: readonly Entry[]): CodeEntry[] {
  return entries.flatMap((entry) => {
    if (entry.kind !== 'process.lua' && entry.kind !== 'function.lua' && entry.kind !== 'library.lua') return []
    const { kind, namespace, source } = entry
    const id = toBytes(entry.id)
    const modules = entry.modules.map(toBytes)
    const imports = Object.fromEntries(
      Object.entries(entry.imports).map(([alias, target]) => [toBytes(alias), toBytes(target)]),
    )
    if (entry.kind === 'library.lua') return [{ id, kind, source, method: '', modules, imports }]
    const { retry, defaultHost } = callRulesOf(entry.meta)
    return [
      {
        id,
        kind,
        source,
        method: toBytes(entry.method),
        modules,
        imports,
        ...(entry.kind === 'function.lua' ? { pool: entry.pool } : {}),
        ...(entry.memoryLimitBytes === undefined ? {} : { memoryLimitBytes: entry.memoryLimitBytes }),
        ...(retry === undefined ? {} : { retry }),
        ...(defaultHost === undefined ? {} : { defaultHost: fullId(defaultHost, namespace) }),
      },
    ]
  })
}

function fullId(reference: string, namespace: string): string {
  return toBytes(reference.includes(':') ? reference : `${namespace}:${reference}`)
}
