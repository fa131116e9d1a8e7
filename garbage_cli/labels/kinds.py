"""The kinds: the 40 of the Huawei Cloud data set and a few more, in English, and how to prepare a piece of each.

Knows the data set's bins, which are Shenzhen's, and what the guides of Shenzhen (家庭生活垃圾分类投放指引, 2020) and
Shanghai (上海市生活垃圾分类投放指南, 2019) ask of who throws it away. Does not know a data set's numbers.
"""

from dataclasses import dataclass

from garbage_cli.labels.bins import HAZARDOUS, KITCHEN, OTHER, RECYCLABLE, Bin, Words


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of waste, and what to do with a piece before it goes into its bin."""

    bin: Bin
    chinese: str
    english: str
    preparation: Words


def _kind(bin_: Bin, chinese: str, english: str, how: str, how_english: str) -> Kind:
    return Kind(bin_, chinese, english, Words(how, how_english))


# fmt: off
KINDS = (
    _kind(OTHER, "一次性快餐盒", "takeaway box",
          "先倒净剩饭剩菜和汤汁，再叠好投放", "Tip out leftovers and soup first, then stack it."),
    _kind(OTHER, "污损塑料", "soiled plastic",
          "倒净残留物，装袋扎紧，以免飘散", "Empty it and tie it up in a bag so that nothing blows away."),
    _kind(OTHER, "烟蒂", "cigarette butt",
          "彻底熄灭，冷却后再投放", "Put it out completely and let it cool first."),
    _kind(OTHER, "牙签", "toothpick",
          "包好尖头，以免扎伤人", "Wrap the sharp ends so that nobody gets pricked."),
    _kind(OTHER, "破碎花盆及碟碗", "broken flowerpot or dish",
          "碎片用厚纸包好，缠上胶带再投放", "Wrap the pieces in thick paper and tape it up."),
    _kind(OTHER, "竹筷", "bamboo chopsticks",
          "去掉食物残渣，扎成一束再投放", "Remove scraps of food and bundle the sticks."),
    _kind(KITCHEN, "剩饭剩菜", "leftovers",
          "沥干汤水，去掉包装、餐具和塑料袋", "Drain it; take out packaging, cutlery and the plastic bag."),
    _kind(KITCHEN, "大骨头", "large bone",
          "沥干汤水，去掉包装和塑料袋", "Drain it; leave out packaging and the plastic bag."),
    _kind(KITCHEN, "水果果皮", "fruit peel",
          "撕掉标签，沥干水分，去掉塑料袋", "Peel off stickers, drain it, leave out the plastic bag."),
    _kind(KITCHEN, "水果果肉", "fruit flesh",
          "沥干汁水，去掉包装和网套", "Drain the juice; take off wrapping and foam nets."),
    _kind(KITCHEN, "茶叶渣", "tea leaves",
          "沥干茶水，去掉包装袋", "Drain the tea off and leave out the wrapping."),
    _kind(KITCHEN, "菜叶菜根", "vegetable leaves and roots",
          "抖掉泥土，解下捆绳，沥干水分", "Shake off soil, undo ties and bands, drain it."),
    _kind(KITCHEN, "蛋壳", "eggshell",
          "沥干蛋液，去掉蛋托和塑料袋", "Drain it; leave out the egg box and the plastic bag."),
    _kind(KITCHEN, "鱼骨", "fish bone",
          "沥干汤水，去掉包装和塑料袋", "Drain it; leave out packaging and the plastic bag."),
    _kind(RECYCLABLE, "充电宝", "power bank",
          "用胶带封住接口，勿拆勿压，单独投放", "Tape over its ports; don't open or crush it; keep it separate."),
    _kind(RECYCLABLE, "包", "bag",
          "掏空物品，保持干净干燥", "Empty all its pockets; keep it clean and dry."),
    _kind(RECYCLABLE, "化妆品瓶", "cosmetics bottle",
          "用完或清空，洗净晾干，轻放", "Use it up or empty it, rinse and dry it, set it down gently."),
    _kind(RECYCLABLE, "塑料玩具", "plastic toy",
          "取出电池，擦净再投放", "Take out the batteries and wipe it clean."),
    _kind(RECYCLABLE, "塑料碗盆", "plastic bowl",
          "去除食物残渣，洗净晾干，叠放", "Remove food, wash and dry it, stack it."),
    _kind(RECYCLABLE, "塑料衣架", "plastic hanger",
          "擦净，多个捆在一起投放", "Wipe it clean; tie several together."),
    _kind(RECYCLABLE, "快递纸袋", "paper courier bag",
          "撕去面单和胶带，压平，保持干燥", "Remove the label and tape, flatten it, keep it dry."),
    _kind(RECYCLABLE, "插头电线", "plug and cable",
          "拔下电源，卷好扎紧", "Unplug it, coil it up and tie it."),
    _kind(RECYCLABLE, "旧衣服", "old clothes",
          "洗净晾干，掏空口袋，叠好装袋", "Wash and dry them, empty the pockets, fold and bag them."),
    _kind(RECYCLABLE, "易拉罐", "drink can",
          "倒净，冲洗后压扁", "Empty it, rinse it and crush it flat."),
    _kind(RECYCLABLE, "枕头", "pillow",
          "保持干净干燥，捆好或装袋", "Keep it clean and dry; tie or bag it."),
    _kind(RECYCLABLE, "毛绒玩具", "plush toy",
          "取出电池，保持干净干燥", "Take out any batteries; keep it clean and dry."),
    _kind(RECYCLABLE, "洗发水瓶", "shampoo bottle",
          "用完后冲净晾干，压扁投放", "Use it up, rinse it, let it dry and press it flat."),
    _kind(RECYCLABLE, "玻璃杯", "drinking glass",
          "洗净轻放；有破口的用厚纸包好", "Wash it, set it down gently; wrap it well if it is chipped."),
    _kind(RECYCLABLE, "皮鞋", "leather shoe",
          "擦净晾干，两只系在一起", "Clean and dry them and tie the pair together."),
    _kind(RECYCLABLE, "砧板", "cutting board",
          "刮去残渣，洗净晾干", "Scrape and wash it, then let it dry."),
    _kind(RECYCLABLE, "纸板箱", "cardboard box",
          "撕去胶带和面单，拆开压平，保持干燥", "Remove tape and labels, unfold it flat, keep it dry."),
    _kind(RECYCLABLE, "调料瓶", "seasoning bottle",
          "倒净调料，冲洗干净，轻放", "Empty it, rinse it out and set it down gently."),
    _kind(RECYCLABLE, "酒瓶", "liquor bottle",
          "倒净冲洗，取下瓶盖，轻放", "Empty and rinse it, take the cap off, set it down gently."),
    _kind(RECYCLABLE, "金属食品罐", "food tin",
          "清空冲净，罐盖压入罐内，当心割手", "Empty and rinse it; push the sharp lid inside."),
    _kind(RECYCLABLE, "锅", "cooking pot",
          "清空，擦洗掉油污和食物", "Empty it; wash off grease and food."),
    _kind(RECYCLABLE, "食用油桶", "cooking-oil jug",
          "沥净余油，擦洗干净，压扁投放", "Let the oil drain out, wash it and press it flat."),
    _kind(RECYCLABLE, "饮料瓶", "drink bottle",
          "倒净，冲洗后压扁", "Empty it, rinse it and press it flat."),
    _kind(HAZARDOUS, "干电池", "dry-cell battery",
          "保持完好，两极贴胶带；破损的装袋封好", "Tape both ends; seal a leaking one in a clear bag."),
    _kind(HAZARDOUS, "软膏", "ointment",
          "拧紧管盖，不要挤出，连管带盒投放", "Leave it in its tube, cap on; don't squeeze it out."),
    _kind(HAZARDOUS, "过期药物", "expired medicine",
          "不要拆开，连同包装一起投放", "Leave it in its package; don't flush it away."),
)
"""The 40, by the data set's numbers."""

FURTHER_KINDS = (
    _kind(RECYCLABLE, "玻璃瓶", "glass bottle",
          "倒净冲洗，取下瓶盖，轻放", "Empty and rinse it, take the cap off, set it down gently."),
    _kind(RECYCLABLE, "金属罐", "metal can",
          "清空冲净，能压扁的压扁", "Empty and rinse it; flatten it if it is thin."),
    _kind(RECYCLABLE, "纸张", "paper",
          "保持干净干燥，展平叠好，不要揉团", "Keep it clean, dry and flat; don't crumple it."),
    _kind(RECYCLABLE, "塑料瓶", "plastic bottle",
          "倒净，冲洗后压扁", "Empty it, rinse it and press it flat."),
    Kind(OTHER, "其他", "trash", OTHER.preparation),
)
"""What coarser data sets have; their names alone say no bin."""
# fmt: on
