// Settings: built-in defaults < app file < --config files < environment < --set. operations.md §1.

import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { parse } from 'yaml'
import type { z } from 'zod'
import type { YamlDocument } from './document.ts'
import { type Finding, findingsOf } from './explain.ts'
import { didYouMean, type Problem, pathText } from './problems.ts'
import { NODE_NAME, SETTING_SECTIONS, settingsSchema } from './schema.ts'

export interface Settings {
  node: { name: string; dataDir: string }
  logger: { level: 'trace' | 'debug' | 'info' | 'warn' | 'error'; format: 'auto' | 'pretty' | 'json' }
  /** `httpIsDefault`: nobody asked for this very address. */
  admin: { http: string; httpIsDefault: boolean }
  shutdown: { timeoutMs: number }
  lua: { engine: 'fengari' }
}

const ADMIN_HTTP = '127.0.0.1:7960'
const DATA_DIR = '.runtime'
const ENVIRONMENT_PREFIX = 'RUNTIME_'

/** One source of settings, later ones over earlier ones. */
interface Layer {
  values: Record<string, unknown>
  place(path: readonly PropertyKey[], isKey: boolean): Pick<Problem, 'file' | 'line' | 'column'>
}

export function documentLayer(document: YamlDocument, values: Record<string, unknown>): Layer {
  return {
    values,
    place: (path, isKey) => ({
      file: document.file,
      ...(isKey ? document.placeOfKey(path) : document.place(path)),
    }),
  }
}

/** `--set path=value`: true, false, numbers and [a,b] lists are recognised, everything else is a string. */
export function setLayers(assignments: readonly string[], problems: Problem[]): Layer[] {
  return assignments.flatMap((assignment) => {
    const name = `--set ${assignment}`
    const at = assignment.indexOf('=')
    const path = assignment.slice(0, at).split('.')
    if (at < 1 || path.includes('')) {
      problems.push({ file: name, line: 0, column: 0, path: '', message: 'expected path=value, e.g. node.name=n1' })
      return []
    }
    return [nestedLayer(name, path, assignment.slice(at + 1))]
  })
}

/** `RUNTIME_CLUSTER__NAME=x`: a variable counts when its first part is a section of the settings. */
export function environmentLayers(env: Readonly<Record<string, string | undefined>>): Layer[] {
  const names = Object.keys(env)
    .filter((name) => name.startsWith(ENVIRONMENT_PREFIX))
    .sort()
  return names.flatMap((name) => {
    const path = name.slice(ENVIRONMENT_PREFIX.length).toLowerCase().split('__')
    const isSetting = path.length > 1 && (SETTING_SECTIONS as readonly string[]).includes(path[0] as string)
    return isSetting ? [nestedLayer(name, path, env[name] ?? '')] : []
  })
}

function nestedLayer(name: string, path: readonly string[], text: string): Layer {
  let values: unknown = scalarOf(text)
  for (const part of [...path].reverse()) values = { [part]: values }
  return { values: values as Record<string, unknown>, place: () => ({ file: name, line: 0, column: 0 }) }
}

function scalarOf(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  if (!/^\[.*\]$/.test(text)) return text
  try {
    const items: unknown = parse(text)
    return Array.isArray(items) ? items : text
  } catch {
    return text
  }
}

/**
 * The settings that the layers make together. Each value is checked where it stands: a problem names the layer that brought it.
 * @param appDir what `node.data_dir` is relative to
 */
export function composeSettings(layers: readonly Layer[], appDir: string, problems: Problem[]): Settings {
  const merged = layers.reduce<Record<string, unknown>>((sum, layer) => merge(sum, layer.values), {})
  const parsed = settingsSchema.safeParse(merged)
  if (!parsed.success) {
    for (const finding of findingsOf(parsed.error.issues, knownKeys, (path) => valueAt(merged, path))) {
      problems.push(placed(finding, layers))
    }
  }
  return settingsOf(parsed.success ? parsed.data : settingsSchema.parse({}), appDir)
}

function placed(finding: Finding, layers: readonly Layer[]): Problem {
  const { path, isKey, message } = finding
  const layer = [...layers].reverse().find(({ values }) => valueAt(values, path) !== undefined) ?? layers[0]
  const place = layer?.place(path, isKey) ?? { file: 'settings', line: 0, column: 0 }
  const isAssignment = place.line === 0
  const hint = isAssignment && isKey && path.length === 1 ? didYouMean(String(path[0]), SETTING_SECTIONS) : ''
  return { ...place, path: pathText(path), message: message.includes('did you mean') ? message : message + hint }
}

function settingsOf(given: z.output<typeof settingsSchema>, appDir: string): Settings {
  return {
    node: { name: given.node.name ?? hostName(), dataDir: resolve(appDir, given.node.data_dir ?? DATA_DIR) },
    logger: given.logger,
    admin: { http: given.admin.http ?? ADMIN_HTTP, httpIsDefault: given.admin.http === undefined },
    shutdown: { timeoutMs: given.shutdown.timeout },
    lua: given.lua,
  }
}

/** The machine's name, made into a node name. */
function hostName(): string {
  const name = hostname()
    .replace(/[^A-Za-z0-9.-]/g, '-')
    .slice(0, 128)
    .replace(/^[.-]+|[.-]+$/g, '')
  return NODE_NAME.test(name) ? name : 'node'
}

function merge(under: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const out = { ...under }
  for (const [key, value] of Object.entries(over)) {
    const before = out[key]
    out[key] = isMap(before) && isMap(value) ? merge(before, value) : value
  }
  return out
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function valueAt(data: unknown, path: readonly PropertyKey[]): unknown {
  let value = data
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Record<PropertyKey, unknown>)[part]
  }
  return value
}

function knownKeys(path: readonly PropertyKey[]): readonly string[] {
  return keysOfSchema(settingsSchema, path)
}

/** The keys that an object schema has at a path; none when the path leads elsewhere. */
export function keysOfSchema(schema: unknown, path: readonly PropertyKey[]): readonly string[] {
  let current = schema as { shape?: Record<string, unknown>; def?: { innerType?: unknown; in?: unknown } } | undefined
  const unwrap = (): void => {
    while (current !== undefined && current.shape === undefined) {
      const inner = current.def?.innerType ?? current.def?.in
      if (inner === undefined) return
      current = inner as typeof current
    }
  }
  unwrap()
  for (const part of path) {
    current = current?.shape?.[String(part)] as typeof current
    unwrap()
  }
  return current?.shape === undefined ? [] : Object.keys(current.shape)
}
