/* tok_scripts.c - a regex with one alternative for each script (UAX 24, four-letter codes). */
#include "worker/text/tok_scripts.h"

static const char codes[] =
	"LatnCyrlArabDevaHangGrekHebrThaiZinhArmnSyrcThaaBengGuruGujrOryaTamlTeluKndaMlymSinh"
	"LaooTibtMymrGeorEthiCherCansOgamRunrKhmrMongBopoYiiiItalGothDsrtTglgHanoBuhdTagbLimbTale"
	"LinbUgarShawOsmaCprtBraiBugiCoptTaluGlagTfngSyloXpeoKharBaliXsuxPhnxPhagNkooSundLepcOlck"
	"VaiiSaurKaliRjngLyciCariLydiChamLanaTavtAvstEgypSamrLisuBamuJavaMteiArmiSarbPrtiPhliPhlp"
	"OrkhKthiBatkBrahMandCakmMercMeroPlrdShrdSoraTakrAghbBassDuplElbaGranKhojSindLinaMahjMani"
	"MendModiMrooNbatNarbPalmPaucPermSiddTirhWaraAhomHluwHatrMultHungSgnwAdlmBhksMarcNewaOsge"
	"TangGonmNshuSoyoZanbDogrGongRohgMakaMedfSogdSogoElymNandHmnpWchoChrsDiakKitsYeziCpmnOugr"
	"TnsaTotoVith";

#define ANY "\\x20\\p{sc:Zzzz}"
#define HAN "\\p{sc:Hani}\\p{sc:Hira}\\p{sc:Kana}\\x{30fc}"

void tok_scripts_pattern(struct buf *out)
{
	buf_adds(out, "[" HAN "][" HAN ANY "]*");
	/* Of the common characters, the space has no script here and U+30FC counts as kana. */
	buf_adds(out, "|[\\p{sc:Zyyy}&&[^\\x20\\x{30fc}]][\\p{sc:Zyyy}" ANY "&&[^\\x{30fc}]]*");
	for (const char *c = codes; *c; c += 4)
		buf_addf(out, "|[\\p{sc:%.4s}][\\p{sc:%.4s}" ANY "]*", c, c);
}
