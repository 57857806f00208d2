import { describe, expect, test } from 'vitest'
import { type NameRules, resolvePath, showPath } from '../../../lua-stdlib/fs/path.ts'
import { fc } from '../../tools/property.ts'

const UNIX: NameRules = { isWindows: false }
const WINDOWS: NameRules = { isWindows: true }

const resolve = (written: string, from: readonly string[] = [], rules = UNIX): string => {
  const resolved = resolvePath(written, from, rules)
  return resolved.ok ? showPath(resolved.path) : resolved.why
}

describe('paths in a volume (lua-libraries.md §18)', () => {
  test.each([
    ['/', [], '/'],
    ['.', ['a'], '/a'],
    ['a/b', [], '/a/b'],
    ['/a/b', ['x'], '/a/b'],
    ['b', ['a'], '/a/b'],
    ['../c', ['a', 'b'], '/a/c'],
    ['..', ['a'], '/'],
    ['a//b///', [], '/a/b'],
    ['./a/./b/../c', [], '/a/c'],
    ['...', [], '/...'],
    ['a/..', [], '/'],
    ['\xff\xfe', [], '/\xff\xfe'],
    ['a\\..\\b', [], '/a\\..\\b'],
    ['C:', [], '/C:'],
  ])('%j from %j is %s', (written, from, wanted) => {
    expect(resolve(written, from)).toBe(wanted)
  })

  test.each([
    ['..', []],
    ['../', []],
    ['/..', ['a']],
    ['/../etc', []],
    ['a/../..', []],
    ['a/../../a', []],
    ['../..', ['a']],
    ['../../../../etc/passwd', ['a', 'b']],
  ])('%j from %j leads out', (written, from) => {
    expect(resolve(written, from)).toContain('path traversal not allowed')
  })

  test.each([
    ['', 'path required'],
    ['a\0b', 'null byte'],
    ['\0', 'null byte'],
    ['../\0', 'null byte'],
    ['x'.repeat(256), 'longer than 255'],
    ['a/'.repeat(3000), 'longer than 4096'],
  ])('%j is none', (written, why) => {
    expect(resolve(written)).toContain(why)
  })

  test.each(['..\\..\\x', 'a\\b', 'C:', 'C:x', 'file:stream', 'nul', 'NUL.txt', 'Com1', 'con ', 'a.', 'a ', 'x|y'])(
    '%j is refused on Windows',
    (written) => {
      expect(resolve(written, [], WINDOWS)).toContain('path traversal not allowed')
    },
  )

  test('ordinary names are fine on Windows', () => {
    expect(resolve('a/b.txt/console/.git', [], WINDOWS)).toBe('/a/b.txt/console/.git')
  })

  test('whatever is written, nothing that resolves leads out', () => {
    const part = fc.constantFrom('..', '.', '', 'a', 'b', '\\', '..\\', 'C:', '\0', '...')
    fc.assert(
      fc.property(fc.array(part), fc.array(fc.constantFrom('a', 'b')), fc.boolean(), (parts, from, isWindows) => {
        const resolved = resolvePath(parts.join('/'), from, { isWindows })
        if (!resolved.ok) return
        for (const name of resolved.path) expect(['', '.', '..']).not.toContain(name)
        for (const name of resolved.path) expect(name).not.toMatch(/[/\0]/)
      }),
    )
  })
})
