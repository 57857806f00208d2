import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DirectoryEntry } from '../../runtime/app/load.ts'
import { toBytes } from '../../runtime/base/bytes.ts'
import { toPlain } from '../../runtime/base/plain.ts'
import { Volumes } from '../../runtime/volumes.ts'
import { entryOf, problemsOf } from './app/app-folder.ts'

let place: string
let volumes: Volumes
beforeEach(() => {
  place = realpathSync(mkdtempSync(join(tmpdir(), 'moonmesh-volumes-')))
  mkdirSync(join(place, 'project/here'), { recursive: true })
  mkdirSync(join(place, 'app/here'), { recursive: true })
  volumes = new Volumes(join(place, 'project'))
})
afterEach(() => rmSync(place, { recursive: true, force: true }))

function entry(fields: Partial<DirectoryEntry>): DirectoryEntry {
  return {
    id: 'app:data',
    namespace: 'app',
    name: 'data',
    meta: {},
    data: {},
    file: join(place, 'app/app.yaml'),
    line: 1,
    kind: 'fs.directory',
    directory: 'here',
    autoInit: false,
    mode: 0o755,
    base: 'project',
    ...fields,
  }
}

const settings = (id: string): unknown => toPlain(volumes.methods.volume([id]))

describe('fs.directory (lua-libraries.md §18)', () => {
  test('lies below the working directory or beside its file, or where its path says', () => {
    const absolute = join(place, 'app/here')
    volumes.configure([
      entry({}),
      entry({ id: 'app:module', base: 'module', mode: 0o700 }),
      entry({ id: 'app:absolute', directory: absolute }),
      entry({ id: 'app:fileless', base: 'module', file: '' }),
    ])
    expect(settings('app:data')).toEqual({ directory: join(place, 'project/here'), mode: 0o755 })
    expect(settings('app:module')).toEqual({ directory: absolute, mode: 0o700 })
    expect(settings('app:absolute')).toEqual({ directory: absolute, mode: 0o755 })
    expect(settings('app:fileless')).toEqual({ directory: join(place, 'project/here'), mode: 0o755 })
  })

  test('what is no volume is not found', () => {
    volumes.configure([entry({})])
    const notFound = expect.objectContaining({ kind: 'NotFound', message: 'filesystem not found: app:ü' })
    expect(() => volumes.methods.volume([toBytes('app:ü')])).toThrow(notFound)
    volumes.configure([])
    expect(() => settings('app:data')).toThrow('filesystem not found')
  })

  test('a directory that is not there is made with auto_init, and an error without', () => {
    const missing = join(place, 'project/new/deep')
    expect(() => volumes.configure([entry({ directory: 'new/deep' })])).toThrow(
      `app:data: the directory ${missing} does not exist; create it, or set auto_init: true`,
    )
    expect(existsSync(missing)).toBe(false)
    volumes.configure([entry({ directory: 'new/deep', autoInit: true, mode: 0o640 })])
    expect(statSync(missing).mode & 0o777 & ~0o007).toBe(0o750)
  })

  test('a file is none', () => {
    writeFileSync(join(place, 'project/file'), '')
    expect(() => volumes.configure([entry({ directory: 'file' })])).toThrow('is not a directory')
    expect(() => volumes.configure([entry({ directory: 'file/below', autoInit: true })])).toThrow('cannot use')
  })

  test('a change elsewhere does not trip over a directory that has gone since', () => {
    const known = entry({})
    volumes.configure([known])
    rmSync(join(place, 'project/here'), { recursive: true })
    volumes.configure([known, entry({ id: 'app:other', directory: '.' })])
    expect(settings('app:data')).toEqual({ directory: join(place, 'project/here'), mode: 0o755 })
    expect(() => volumes.configure([entry({})])).toThrow('does not exist')
  })
})

describe('the fields of an fs.directory', () => {
  const declared = (fields: string): string =>
    `namespace: shop\nentries:\n  - { name: d, kind: fs.directory${fields} }\n`

  test('have defaults', async () => {
    expect(await entryOf(declared(', directory: data'), 'fs.directory')).toMatchObject({
      directory: 'data',
      autoInit: false,
      mode: 0o755,
      base: 'project',
    })
  })

  test.each([
    [', directory: x, mode: "0640"', 0o640],
    [', directory: x, mode: "700"', 0o700],
    [', directory: x, mode: 0755', 0o755],
  ])('%s', async (fields, mode) => {
    expect(await entryOf(declared(fields), 'fs.directory')).toMatchObject({ mode })
  })

  test.each([
    ['', 'required field is missing'],
    [', directory: x, mode: "0888"', 'octal mode in quotes'],
    [', directory: x, mode: 0444', 'octal mode in quotes'],
    [', directory: x, base: here', 'expected one of "project", "module", found "here"'],
    [', directory: x, readonly: true', 'unknown key "readonly"'],
  ])('are checked: %s', async (fields, problem) => {
    expect(JSON.stringify(await problemsOf({ 'app.yaml': declared(fields) }))).toContain(
      JSON.stringify(problem).slice(1, -1),
    )
  })
})
