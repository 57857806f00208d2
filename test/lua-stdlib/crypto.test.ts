import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { AES_GCM, decrypt, encrypt } from '../../lua-stdlib/crypto/ciphers.ts'
import { type Derivation, Derivations } from '../../lua-stdlib/crypto/derivations.ts'
import { sign, validityProblem, verify } from '../../lua-stdlib/crypto/jwt.ts'
import { randomString } from '../../lua-stdlib/crypto/random.ts'

describe('when a token may be used (lua-libraries.md §9)', () => {
  const none = { exp: undefined, nbf: undefined }
  test.each([
    [{ ...none, exp: 101 }, true, undefined],
    [{ ...none, exp: 100 }, true, 'token is expired'],
    [{ ...none, exp: 99.5 }, false, 'token is expired'],
    [none, true, 'exp claim is required'],
    [none, false, undefined],
    [{ exp: 101, nbf: 100 }, true, undefined],
    [{ exp: 101, nbf: 100.5 }, true, 'token is not valid yet'],
    [{ ...none, nbf: 101 }, false, 'token is not valid yet'],
    [{ exp: '101', nbf: undefined }, true, 'token is malformed: exp must be a number'],
    [{ exp: 101, nbf: {} }, true, 'token is malformed: nbf must be a number'],
  ])('%j, exp required: %s', (validity, requiresExp, problem) => {
    expect(validityProblem(validity, requiresExp, 100)).toBe(problem)
  })
})

test('a token is verified with the algorithm that was named, whatever its header says', async () => {
  const token = await sign({ payload: '{}', header: { alg: 'HS512', kid: 'x' } }, 'k', 'HS384')
  expect(await verify(token, 'k', 'HS384')).toBe('{}')
  await expect(verify(token, 'k', 'HS512')).rejects.toThrow('signing method HS384 is invalid')
})

test('a random string takes each byte of the charset, also of a long one with repetitions', () => {
  const charset = 'ab'.repeat(300)
  const text = randomString(20_000, charset)
  expect(text).toMatch(/^[ab]{20000}$/)
  expect(text.split('a').length).toBeGreaterThan(9000)
  expect(text.split('a').length).toBeLessThan(11_000)
})

test('no piece of a ciphertext decrypts', () => {
  const sealed = encrypt(AES_GCM, 'data', 'k'.repeat(16), '')
  for (let length = 0; length < sealed.length; length++) {
    expect(decrypt(AES_GCM, sealed.slice(0, length), 'k'.repeat(16), '').ok).toBe(false)
  }
})

describe('derivations', () => {
  const derivation: Derivation = {
    password: Buffer.from('p'),
    salt: Buffer.from('s'),
    iterations: 50_000,
    lengthBytes: 8,
    hash: 'sha256',
    isAbandoned: () => false,
  }

  test('two run at a time; one that is abandoned before its turn never begins', async () => {
    const derivations = new Derivations()
    const asked: string[] = []
    const watch = (name: string, isAbandoned: boolean): Derivation => ({
      ...derivation,
      isAbandoned: () => {
        asked.push(name)
        return isAbandoned
      },
    })
    const first = derivations.derive(watch('first', false))
    const second = derivations.derive(watch('second', false))
    let isGone = true
    void derivations.derive(watch('gone', true)).then(() => {
      isGone = false
    })
    const last = derivations.derive(watch('last', false))
    expect(asked).toEqual(['first', 'second'])
    const keys = await Promise.all([first, second, last])
    await sleep(0)
    expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(1)
    expect(asked).toEqual(['first', 'second', 'gone', 'last'])
    expect(isGone).toBe(true)
  })
})
